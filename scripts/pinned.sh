# Installs clients and suites, in pinned versions, below $installed. To be sourced; nothing else is touched.

# once NAME COMMAND…: runs the command, unless an earlier run has finished it.
once() {
    local folder=$installed/$1
    shift
    [ ! -e "$folder/.installed" ] || return 0
    echo "installing ${folder##*/}" >&2
    mkdir -p "$folder"
    timeout 600 "$@" >&2
    touch "$folder/.installed"
}

# from_npm NAME PACKAGE…: the packages, in a folder of that name.
from_npm() {
    local name=$1
    shift
    once "$name" npm install --prefix "$installed/$name" --no-save --no-package-lock --no-audit --no-fund \
        --loglevel=error "$@"
}

# from_pypi NAME PACKAGE…: the packages, in an environment of that name.
from_pypi() {
    local name=$1
    shift
    once "$name-venv" python3 -m venv "$installed/$name"
    once "$name" "$installed/$name/bin/pip" install --quiet --disable-pip-version-check "$@"
}
