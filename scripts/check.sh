#!/usr/bin/env bash
# Format, lint, strict types, import contracts, unit tests: what is run on every save.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
bin=.venv/bin
failed=0
one() {  # one TITLE COMMAND…: quiet when green, loud when red
    local title=$1 start=$SECONDS out; shift
    if out=$("$@" 2>&1); then printf '  %s✓%s %-10s %s%ds%s\n' "$green" "$off" "$title" "$dim" $((SECONDS - start)) "$off"
    else printf '  %s✗ %s%s\n%s\n' "$red" "$title" "$off" "$out"; failed=1; fi
}
one format "$bin/ruff" format --check .
one lint "$bin/ruff" check .
one types "$bin/mypy"
one contracts "$bin/lint-imports" --no-cache
[ "${1:-}" = static ] || one unit "$bin/python" -m pytest tests/unit -m "not slow" -q -x -n 2
exit $failed
