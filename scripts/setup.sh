#!/usr/bin/env bash
# Installs what `make run` (mode "run") or the tests (mode "dev") need: Debian packages by name, a virtual environment
# in .venv, SIP's library (scripts/sip.sh). Idempotent; about a second when nothing changed. SKIP_APT=1 leaves Debian's
# packages to you, TRUNKLINE_SIP=off leaves SIP out.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

mode=${1:-run}
run_packages=(libflite1 flite asterisk-core-sounds-en-wav)
dev_packages=(asterisk-core-sounds-en espeak-ng festival festvox-kallpc16k festvox-kdlpc16k postgresql redis-server curl chromium)
wanted=("${run_packages[@]}")
case ${TRUNKLINE_SIP:-on} in off|0|false|no) ;; *) dev_packages+=(sip-tester baresip-core) ;; esac
[ "$mode" = dev ] && wanted+=("${dev_packages[@]}")
# A python3 of your own will do; Debian's comes without ensurepip until python3-venv is there.
"${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3 python3-venv)
[ -n "${SKIP_APT:-}" ] || packages "${wanted[@]}"

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
    die "$("$python" --version) is not supported: Trunkline needs Python 3.11, 3.12 or 3.13. Set PYTHON=/path/to/one."

venv=${VENV:-.venv}
extras=; [ "$mode" = dev ] && extras='[dev]'
stamp=$("$python" --version | cat - pyproject.toml scripts/setup.sh | sha256sum | cut -c1-16)
for have in "$venv/.trunkline-$mode" "$venv/.trunkline-dev"; do
    [ -f "$have" ] && [ "$(cat "$have")" = "$stamp" ] && exec scripts/sip.sh
done
[ -x "$venv/bin/python" ] || step "virtual environment $venv" "$python" -m venv "$venv"
step "Python packages (a minute or two the first time)" \
    "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --editable ".$extras"
printf '%s' "$stamp" >"$venv/.trunkline-$mode"
exec scripts/sip.sh
