#!/usr/bin/env bash
# SIP with other people's programs, over bad networks and under attack: what takes too long for make test. As root,
# for network namespaces. interop.sh [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
wanted=(sip-tester baresip-core iproute2)
[ -n "${SKIP_APT:-}" ] || packages "${wanted[@]}"
scripts/pytest.sh tests/interop -m interop --durations=0 "$@"
