#!/usr/bin/env bash
# SIP with other people's programs, over bad networks and under attack: what takes too long for make test. As root,
# for network namespaces. interop.sh [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
wanted=(sip-tester sipvicious baresip-core iproute2 flite openssl kamailio)
kamailio=$(missing_packages kamailio)
[ -n "${SKIP_APT:-}" ] || packages "${wanted[@]}"
[ -z "$kamailio" ] || [ ! -d /run/systemd/system ] || systemctl disable -q --now kamailio || true  # tests start their own
scripts/asterisk.sh || say "without Asterisk its tests are skipped"
scripts/pytest.sh tests/interop -m interop --durations=0 "$@"
