#!/usr/bin/env bash
# pytest.sh ARGUMENT…: pytest, and one more chance for a handful. Wire tests run in real time, some tests start
# processes or servers; on a machine that others load one may come too late. At most five that fail run once more,
# alone and in the open; what fails again is a failure. A file that cannot be imported gets no second chance.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
most=5
cache=$(mktemp -d)  # of this run alone: what failed is known, whatever failed some other day
trap 'rm -rf "$cache"' EXIT
status=0
.venv/bin/python -m pytest -q "$@" -o cache_dir="$cache" || status=$?
[ "$status" = 1 ] || exit "$status"
read -r failed broken < <(.venv/bin/python - "$cache" <<'PY'
import json, pathlib, sys
last = pathlib.Path(sys.argv[1], "v/cache/lastfailed")
names = json.loads(last.read_text()) if last.exists() else {}
print(sum("::" in name for name in names), sum("::" not in name for name in names))
PY
)
[ "$broken" = 0 ] || die "$broken file(s) could not be imported, $failed test(s) failed: see above"
[ "$failed" -gt 0 ] || die "no test failed, but the run is not accepted: see above (a skip that is not expected?)"
[ "$failed" -le "$most" ] || die "$failed tests failed: see above"
say "${red}$failed test(s) failed; again, alone:${off}"
.venv/bin/python -m pytest "$@" -o cache_dir="$cache" --lf --lfnf=none -n 0 --dist no -v
