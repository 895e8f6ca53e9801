#!/bin/sh
# Installs what is missing, with the system's own package manager. Does nothing when all is there.
# That is Tesseract, and a C compiler for the build. On Debian also, for the tests (`install.sh tests`), an X server without
# a screen and a program that copies to its clipboard; for real clients (`install.sh clients`), npm and Python's venv; and for
# the page (`install.sh page`), npm and a browser.
set -eu

missing() { ! command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null 2>&1; then sudo "$@"; else
        echo "error: installing needs root: run \"$*\" yourself" >&2
        exit 1
    fi
}

need=""
missing tesseract && need="$need tesseract"
missing cc && need="$need cc"
if [ "${1:-}" = tests ] && command -v apt-get >/dev/null 2>&1; then
    missing Xvfb && need="$need xvfb"
    missing xclip && need="$need xclip"
fi
if [ "${1:-}" = clients ] && command -v apt-get >/dev/null 2>&1; then
    missing npm && need="$need npm"
    python3 -c 'import ensurepip' 2>/dev/null || need="$need python3-venv"
fi
if [ "${1:-}" = page ] && command -v apt-get >/dev/null 2>&1; then
    missing npm && need="$need npm"
    missing chromium && missing chromium-browser && missing google-chrome && need="$need chromium"
fi
[ -n "$need" ] || exit 0

if command -v apt-get >/dev/null 2>&1; then
    packages=""
    for tool in $need; do
        case $tool in
        tesseract) packages="$packages tesseract-ocr" ;;
        cc) packages="$packages gcc libc6-dev" ;;
        *) packages="$packages $tool" ;;
        esac
    done
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates $packages
elif command -v brew >/dev/null 2>&1; then
    for tool in $need; do
        case $tool in
        tesseract) brew install tesseract ;;
        cc) xcode-select --install ;;
        esac
    done
else
    echo "error: please install:$need" >&2
    exit 1
fi
