#!/usr/bin/env bash
# Lets others judge the HTTP interface: Schemathesis by its description, OpenAI's clients for Python and Node by their
# own types, and curl. Installs them, in pinned versions, into target/api/; nothing else is touched.
#   VISIONGATE=path/of/the/binary tests/api/run.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
installed=$root/target/api
cd "$root"

SCHEMATHESIS=4.32.5 PYTHON_3=3.52.0 PYTHON_1=1.109.1 NODE_CLIENT=7.55.0 ZOD=4.6.7 NODE=22.23.3
# Much the same requests in every run; another number makes others.
SEED=${SEED:-1}

binary=${VISIONGATE:-}
for candidate in target/release/visiongate target/debug/visiongate; do
    [ -n "$binary" ] || [ ! -x "$candidate" ] || binary=$candidate
done
[ -x "$binary" ] || { echo "error: no visiongate to test: build it, or set VISIONGATE" >&2; exit 2; }
unset MISTRAL_API_KEY VISIONGATE_CONFIG OPENAI_API_KEY OPENAI_BASE_URL

# ---- installing ---------------------------------------------------------------------------------------------------

. "$root/scripts/pinned.sh"
command -v tesseract >/dev/null || scripts/install.sh demo
# OpenAI's client wants Node 22.
if ! node -e 'process.exit(process.versions.node.split(".")[0] < 22 ? 1 : 0)' 2>/dev/null; then
    from_npm "node-$NODE" "node@$NODE"
    PATH=$installed/node-$NODE/node_modules/.bin:$PATH
fi
from_npm "openai-node-$NODE_CLIENT" "openai@$NODE_CLIENT" "zod@$ZOD"
from_pypi "openai-$PYTHON_3" "openai==$PYTHON_3"
from_pypi "openai-$PYTHON_1" "openai==$PYTHON_1"
from_pypi "schemathesis-$SCHEMATHESIS" "schemathesis==$SCHEMATHESIS"

# ---- servers ------------------------------------------------------------------------------------------------------

. "$root/scripts/background.sh"

starts upstream python3 "$here/upstream.py"
export UPSTREAM=$url
provider="[providers.scripted]
kind = \"openai-compatible\"
model = \"m\"
key = \"none\"
base_url = \"$UPSTREAM/v1\""
printf 'default = "local"\nfallback = []\n%s\n' "$provider" >"$runs/open.toml"
printf 'default = "scripted"\nfallback = ["local"]\n%s\n' "$provider" >"$runs/keys.toml"

# key NAME MORE: makes a key, allows it in keys.toml with these settings more, and sets the variable NAME to it.
key() {
    local made name=$1
    made=$("$binary" keys new "$name" --json)
    export "$name=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["key"])' "$made")"
    python3 -c 'import json, sys; print("[server.keys.%s]\nhash = \"%s\"\n%s" % (sys.argv[2], json.loads(sys.argv[1])["hash"], sys.argv[3]))' \
        "$made" "$name" "$2" >>"$runs/keys.toml"
}
key ALICE ''
key BOB 'models = ["local"]'
key CAROL 'requests_per_minute = 2'

# ---- checking -----------------------------------------------------------------------------------------------------

export IMAGE=$root/examples/receipt.png
starts keys "$binary" --config "$runs/keys.toml" serve --listen 127.0.0.1:0
export URL=$url
checks() {
    local name=$1
    shift
    CHECK=$name timeout --foreground 120 "$@" 2>>"$runs/$name.log" ||
        echo "FAIL $name ended with $?: see target/api/runs/$name.log"
}
{
    checks "curl" bash "$here/curl.sh"
    checks "openai-$PYTHON_3" "$installed/openai-$PYTHON_3/bin/python" "$here/python_client.py"
    checks "openai-$PYTHON_1" "$installed/openai-$PYTHON_1/bin/python" "$here/python_client.py"
    checks "openai-node-$NODE_CLIENT" env MODULES="$installed/openai-node-$NODE_CLIENT/" node "$here/node_client.mjs"
} | tee "$runs/lines"

starts open "$binary" --config "$runs/open.toml" serve --listen 127.0.0.1:0
log=$runs/schemathesis.log
outcome=ok
IMAGE=$root/examples/qr.png SCHEMATHESIS_HOOKS=$here/hooks.py timeout 600 \
    "$installed/schemathesis-$SCHEMATHESIS/bin/schemathesis" --config-file "$here/schemathesis.toml" \
    run "$url/openapi.json" --seed "$SEED" --no-color >"$log" 2>&1 || outcome=FAIL
echo "$outcome schemathesis: $(grep -oE '[0-9]+ generated.*' "$log" || echo "did not run to its end")" | tee -a "$runs/lines"
[ "$outcome" = ok ] || sed -n '/= FAILURES =/,$p' "$log" | cut -c 1-600

passed=$(grep -c '^ok ' "$runs/lines" || true)
failed=$(grep -cv '^ok ' "$runs/lines" || true)
echo "$passed passed, $failed failed; logs are in target/api/runs"
[ "$passed" -gt 0 ] && [ "$failed" = 0 ]
