#!/usr/bin/env bash
# Holds the measures and the statistics against independent programs from PyPI: jiwer, anls_star, SQuAD's own in
# transformers, RapidFuzz, Shapely, NumPy, SciPy and statsmodels. Installs them, in pinned versions, into
# target/reference/; nothing else is touched. Without REFERENCE, it takes the debug build of the example.
#   [REFERENCE=path/of/the/example] [SEED=7] tests/reference/run.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
installed=$root/target/reference
cd "$root"

reference=${REFERENCE:-${CARGO_TARGET_DIR:-target}/debug/examples/reference}
[ -x "$reference" ] || { echo "error: there is no $reference: \`make reference\` builds it" >&2; exit 2; }

. "$root/scripts/pinned.sh"
# Other pins are another environment.
name=python-$(cksum <"$here/requirements.txt" | cut -d ' ' -f 1)
from_pypi "$name" -r "$here/requirements.txt"

# Much the same cases in every run; another number makes others.
export SEED=${SEED:-1} TRANSFORMERS_NO_ADVISORY_WARNINGS=1 TRANSFORMERS_VERBOSITY=critical PYTHONWARNINGS=ignore
timeout 900 "$installed/$name/bin/python" "$here/check.py" "$reference"
