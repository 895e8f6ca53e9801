#!/usr/bin/env bash
# Proves that real MCP clients can list and call the tools: every client over stdio and over HTTP, in every protocol
# era that it speaks. Installs the clients, in pinned versions, into target/clients/; nothing else is touched.
#   VISIONGATE=path/of/the/binary tests/clients/run.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
installed=$root/target/clients
# The working directory is where `visiongate mcp` may read images.
cd "$root"

INSPECTOR=2.12.0 PYTHON_1=1.30.0 PYTHON_2=2.3.0 TS_1=1.32.2 TS_2=2.4.0 NODE=22.23.3

binary=${VISIONGATE:-}
for candidate in target/release/visiongate target/debug/visiongate; do
    [ -n "$binary" ] || [ ! -x "$candidate" ] || binary=$candidate
done
[ -x "$binary" ] || { echo "error: no visiongate to test: build it, or set VISIONGATE" >&2; exit 2; }
binary=$(cd "$(dirname "$binary")" && pwd -P)/$(basename "$binary")
# Without a key, the built-in `local` provider answers.
unset MISTRAL_API_KEY VISIONGATE_CONFIG

# ---- installing ---------------------------------------------------------------------------------------------------

. "$root/scripts/pinned.sh"
command -v tesseract >/dev/null || scripts/install.sh demo
# The Inspector wants Node 22.19.
if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a * 100 + +b < 2219 ? 1 : 0)' 2>/dev/null; then
    from_npm "node-$NODE" "node@$NODE"
    PATH=$installed/node-$NODE/node_modules/.bin:$PATH
fi
from_npm "inspector-$INSPECTOR" "@modelcontextprotocol/inspector@$INSPECTOR"
from_npm "ts-1-$TS_1" "@modelcontextprotocol/sdk@$TS_1"
from_npm "ts-2-$TS_2" "@modelcontextprotocol/client@$TS_2"
from_pypi "python-1-$PYTHON_1" "mcp==$PYTHON_1"
from_pypi "python-2-$PYTHON_2" "mcp==$PYTHON_2"

# ---- checking -----------------------------------------------------------------------------------------------------

. "$root/scripts/background.sh"

# Writes the configuration of one client's servers. Its provider `chat` is the model of model.py, and `slow` is Tesseract after a pause that is long enough
# for two signs of progress; while it lives, it makes the file slow.alive again and again.
configure() {
    cat >"$1/slow" <<-END
	#!/bin/sh
	for beat in \$(seq 25); do
	    echo >"\$0.alive"
	    sleep 0.2
	done
	exec '$(command -v tesseract)' "\$@"
	END
    chmod +x "$1/slow"
    cat >"$1/config.toml" <<-END
	[providers.slow]
	kind = "local"
	program = "$1/slow"
	[providers.chat]
	kind = "openai-compatible"
	base_url = "http://127.0.0.1:$(cat "$runs/model.port")/v1"
	model = "m"
	key = "none"
	END
}

# Starts `visiongate serve` on a free port and sets url.
serve() {
    touch "$1/serve.log"
    "$binary" --config "$1/config.toml" serve --listen 127.0.0.1:0 </dev/null 2>>"$1/serve.log" &
    jobs="$jobs $!"
    for _ in $(seq 100); do
        url=$(grep -oEm1 '127\.0\.0\.1:[1-9][0-9]*' "$1/serve.log" || true)
        [ -z "$url" ] || { url=http://$url/mcp; return 0; }
        sleep 0.1
    done
    echo "error: visiongate serve did not say within 10 s where it listens:" >&2
    cat "$1/serve.log" >&2
    exit 1
}

# checks NAME ERAS COMMAND…: runs one client over both transports in each era. It prints its own checks, and ends with
# another code than 0 only when it breaks.
checks() {
    local name=$1 eras=$2 transport era
    shift 2
    for transport in stdio http; do
        for era in $eras; do
            CHECK="$transport $era $name" TRANSPORT=$transport ERA=$era \
                timeout --foreground 90 "$@" 2>>"$FOLDER/client.log" ||
                echo "FAIL $transport $era $name ended with $?: see ${FOLDER#"$root/"}/client.log"
        done
    done | tee "$FOLDER/lines"
}

# client NAME ERAS COMMAND…: the same in the background, with servers of its own.
clients=""
client() {
    local folder=$runs/$1
    mkdir "$folder"
    configure "$folder"
    serve "$folder"
    FOLDER=$folder BINARY=$binary CONFIG=$folder/config.toml URL=$url RECEIPT=$root/examples/receipt.png \
        checks "$@" </dev/null &
    clients="$clients $!"
    jobs="$jobs $!"
}

python3 "$here/model.py" "$runs/model.port" &
jobs="$jobs $!"
for _ in $(seq 100); do [ -s "$runs/model.port" ] || sleep 0.1; done

client inspector "legacy modern auto" \
    env INSPECTOR="$installed/inspector-$INSPECTOR/node_modules/.bin/mcp-inspector" bash "$here/inspector.sh"
client python-1 legacy "$installed/python-1-$PYTHON_1/bin/python" "$here/python_client.py"
client python-2 "legacy modern auto" "$installed/python-2-$PYTHON_2/bin/python" "$here/python_client.py"
client ts-1 legacy env MODULES="$installed/ts-1-$TS_1/" node "$here/ts_v1.mjs"
client ts-2 "legacy modern auto" env MODULES="$installed/ts-2-$TS_2/" node "$here/ts_v2.mjs"
# shellcheck disable=SC2086 # a list of process ids
wait $clients || true

passed=$(cat "$runs"/*/lines | grep -c '^ok ' || true)
failed=$(cat "$runs"/*/lines | grep -cv '^ok ' || true)
echo "$passed passed, $failed failed"
[ "$passed" -gt 0 ] && [ "$failed" = 0 ]
