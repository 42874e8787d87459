#!/usr/bin/env bash
# The README's test command: everything a fresh machine can run, with what it needs started by the tests themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
start=$SECONDS
PROMTOOL=$(scripts/promtool.sh); export PROMTOOL
CADDY=$(scripts/caddy.sh); export CADDY
say "${bold}checks${off}"; scripts/check.sh static
say "${bold}tests${off} (unit, conformance, wire, peers)"
scripts/pytest.sh tests -m "not soak and not interop" -n 2 --dist loadfile --no-loadscope-reorder --durations=8 "$@"
say "${green}all green${off} in $((SECONDS - start)) s"
