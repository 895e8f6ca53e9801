#!/usr/bin/env bash
# Runs the conformance suite of the protocol against the server: whole against the build with the suite's fixtures, and
# as far as it goes without them against the program as it is shipped. Installs the suite, in a pinned version, into
# target/conformance/; nothing else is touched. Without VISIONGATE and FIXTURES, it takes the debug builds of the two.
#   [VISIONGATE=path/of/the/program] [FIXTURES=path/of/the/example] tests/conformance/run.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
installed=$root/target/conformance
cd "$root"

SUITE=0.2.0-alpha.12 NODE=22.23.3

built=${CARGO_TARGET_DIR:-target}/debug
shipped=${VISIONGATE:-$built/visiongate}
fixtures=${FIXTURES:-$built/examples/conformance}
for binary in "$shipped" "$fixtures"; do
    [ -x "$binary" ] || { echo "error: there is no $binary: \`make conformance\` builds it" >&2; exit 2; }
done
unset MISTRAL_API_KEY VISIONGATE_CONFIG

# ---- installing ---------------------------------------------------------------------------------------------------

. "$root/scripts/pinned.sh"

# The suite breaks on Node 20.
if ! node -e 'process.exit(process.versions.node.split(".")[0] < 22 ? 1 : 0)' 2>/dev/null; then
    from_npm "node-$NODE" "node@$NODE"
    PATH=$installed/node-$NODE/node_modules/.bin:$PATH
fi
from_npm "suite-$SUITE" "@modelcontextprotocol/conformance@$SUITE"
suite=$installed/suite-$SUITE/node_modules/.bin/conformance

# ---- serving ------------------------------------------------------------------------------------------------------

runs=$installed/runs
rm -rf "$runs"
mkdir -p "$runs"
# Whatever the user's own configuration says, keys above all, is not what is tested.
touch "$runs/config.toml"

# Every server is a process group of its own, so that an interrupted run leaves nothing behind. It is not asked to
# finish: it would wait for streams that the suite left open.
set -m
jobs=""
stop() {
    local job
    for job in $jobs; do kill -KILL -- "-$job" 2>/dev/null || true; done
}
trap stop EXIT
trap 'exit 1' INT TERM

# serve LOG COMMAND…: starts a server on a free port and sets url.
serve() {
    local log=$1
    shift
    touch "$log"
    "$@" 127.0.0.1:0 </dev/null >/dev/null 2>"$log" &
    jobs="$jobs $!"
    disown
    for _ in $(seq 100); do
        url=$(grep -oEm1 '127\.0\.0\.1:[1-9][0-9]*' "$log" || true)
        [ -z "$url" ] || { url=http://$url/mcp; return 0; }
        sleep 0.1
    done
    echo "error: $1 did not say within 10 s where it listens:" >&2
    cat "$log" >&2
    exit 1
}

# ---- checking -----------------------------------------------------------------------------------------------------

# Prints every check that failed or warned, but for those that are known to.
explain() {
    node -e '
        const fs = require("fs"), [results, known] = process.argv.slice(1);
        const listed = fs.existsSync(known) ? fs.readFileSync(known, "utf8").match(/(?<=^ +- )\S+/gm) : [];
        for (const folder of fs.readdirSync(results).sort()) {
            const scenario = folder.replace(/^server-/, "").replace(/-\d{4}-\d\d-\d\dT.*/, "");
            for (const check of JSON.parse(fs.readFileSync(`${results}/${folder}/checks.json`, "utf8"))) {
                const is_known = listed.includes(scenario) || listed.includes(`${scenario}:${check.id}`);
                if (!["FAILURE", "WARNING"].includes(check.status) || is_known) continue;
                console.log(`  ${scenario}:${check.id} (${check.status}): ${check.errorMessage ?? check.description}`);
            }
        }' "$1" "$2"
}

# holds BUILD REVISION PASSED FAILED: what a revision of the protocol requires is met, but for what BUILD-REVISION.yml
# lists. The numbers of checks are pinned because checks that were never made do not fail, and because the suite judges
# by what it scores alone.
failed=0
holds() {
    local name=$1-$2 wanted="$3 passed, $4 failed" known=() verdict=ok total
    [ ! -e "$here/$name.yml" ] || known=(--expected-failures "$here/$name.yml")
    timeout 300 "$suite" server --url "$url" --requirements "$2" ${known[@]+"${known[@]}"} -o "$runs/$name" \
        >"$runs/$name.log" 2>&1 || verdict=FAIL
    total=$(sed -n 's/^Total: //p' "$runs/$name.log")
    [ "$total" = "$wanted" ] || verdict=FAIL
    echo "$verdict $1 $2: $total"
    [ "$verdict" = FAIL ] || return 0
    failed=1
    [ "$total" = "$wanted" ] || echo "  wanted: $wanted"
    # What was listed and passes.
    sed -n '/^.*Stale baseline/,/^$/s/^  ✓/  passes, and is listed in '"$name.yml"':/p' "$runs/$name.log"
    explain "$runs/$name" "$here/$name.yml"
    echo "  see ${runs#"$root/"}/$name.log"
}

serve "$runs/fixtures.log" "$fixtures" "$runs/config.toml"
holds fixtures 2025-11-25 83 0
holds fixtures 2026-07-28 197 0
serve "$runs/shipped.log" "$shipped" --config "$runs/config.toml" serve --listen
holds shipped 2025-11-25 38 23
holds shipped 2026-07-28 105 64
exit "$failed"
