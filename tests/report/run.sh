#!/usr/bin/env bash
# Writes a report about a run that never was, and looks at it in a real Chromium without a window. Installs playwright-core
# and axe, in pinned versions, into target/report/, where it also leaves the report and screenshots; nothing else is touched.
# Without REPORT, it takes the debug build of the example.
#   [REPORT=path/of/the/example] [CHROMIUM=path] tests/report/run.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
installed=${INSTALLED:-$root/target/report}
cd "$root"

PLAYWRIGHT=1.65.1 AXE=4.14.1

report=${REPORT:-${CARGO_TARGET_DIR:-target}/debug/examples/report}
[ -x "$report" ] || { echo "error: there is no $report: \`make report\` builds it" >&2; exit 2; }
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -x "$CHROMIUM" ] || { echo "error: there is no Chromium: install one, or set CHROMIUM" >&2; exit 2; }

. "$root/scripts/pinned.sh"
from_npm "playwright-$PLAYWRIGHT" "playwright-core@$PLAYWRIGHT"
from_npm "axe-$AXE" "axe-core@$AXE"

"$report"
lines=$root/target/report/lines
MODULES=$installed AXE_VERSION=$AXE PLAYWRIGHT_VERSION=$PLAYWRIGHT CHROMIUM=$CHROMIUM REPORTS=$root/target/report \
    timeout --foreground 300 node "$here/look.mjs" | tee "$lines" || echo "FAIL the driver ended with $?" | tee -a "$lines"

passed=$(grep -c '^ok ' "$lines" || true)
failed=$(grep -cv '^ok ' "$lines" || true)
echo "$passed passed, $failed failed; target/report has the report and screenshots"
[ "$passed" -gt 0 ] && [ "$failed" = 0 ]
