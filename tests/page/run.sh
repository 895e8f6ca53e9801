#!/usr/bin/env bash
# Drives the page in a real Chromium without a window: images in, answers out, errors, keys, history, and what axe says of it.
# Installs playwright-core and axe, in pinned versions, into target/page/, where it also leaves screenshots; nothing else is
# touched.
#   VISIONGATE=path/of/the/binary tests/page/run.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
installed=$root/target/page
cd "$root"

PLAYWRIGHT=1.65.1 AXE=4.14.1

binary=${VISIONGATE:-}
for candidate in target/release/visiongate target/debug/visiongate; do
    [ -n "$binary" ] || [ ! -x "$candidate" ] || binary=$candidate
done
[ -x "$binary" ] || { echo "error: no visiongate to test: build it, or set VISIONGATE" >&2; exit 2; }
unset MISTRAL_API_KEY VISIONGATE_CONFIG

# ---- installing ---------------------------------------------------------------------------------------------------

. "$root/scripts/pinned.sh"
scripts/install.sh page
from_npm "playwright-$PLAYWRIGHT" "playwright-core@$PLAYWRIGHT"
from_npm "axe-$AXE" "axe-core@$AXE"

# ---- servers ------------------------------------------------------------------------------------------------------

. "$root/scripts/background.sh"

starts vendor python3 "$here/vendor.py"
export VENDOR=$url
{
    printf 'default = "steady"\nfallback = []\n[aliases]\nreader = "steady"\n'
    printf '[compare]\nmax_models = 4\n[uploads]\ncapacity = "2MiB"\n'
    for model in steady other slow failing breaking refusing hostile dashes; do
        printf '[providers.%s]\nkind = "openai-compatible"\nmodel = "%s"\nkey = "none"\nbase_url = "%s/v1"\n' \
            "$model" "$model" "$VENDOR"
        printf '[[providers.%s.models]]\nid = "%s"\njson = "schema"\nprice = { input = 0.40, output = 2.00 }\n' "$model" "$model"
    done
} >"$runs/open.toml"
made=$("$binary" keys new alice --json)
KEY=$(node -p 'JSON.parse(process.argv[1]).key' "$made")
hash=$(node -p 'JSON.parse(process.argv[1]).hash' "$made")
{ cat "$runs/open.toml"; printf '[server.keys.alice]\nhash = "%s"\n' "$hash"; } >"$runs/keys.toml"
starts open "$binary" --config "$runs/open.toml" serve --listen 127.0.0.1:0
export OPEN=$url
starts keys "$binary" --config "$runs/keys.toml" serve --listen 127.0.0.1:0
export KEYS=$url KEY

# ---- checking -----------------------------------------------------------------------------------------------------

CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}
MODULES=$installed AXE_VERSION=$AXE PLAYWRIGHT_VERSION=$PLAYWRIGHT CHROMIUM=$CHROMIUM \
    EXAMPLES=$root/examples SHOTS=$installed \
    timeout --foreground 300 node "$here/drive.mjs" | tee "$runs/lines" ||
    echo "FAIL the driver ended with $?" | tee -a "$runs/lines"

passed=$(grep -c '^ok ' "$runs/lines" || true)
failed=$(grep -cv '^ok ' "$runs/lines" || true)
echo "$passed passed, $failed failed; screenshots are in target/page, logs in target/page/runs"
[ "$passed" -gt 0 ] && [ "$failed" = 0 ]
