#!/usr/bin/env bash
# Compiles the modules of a frame's path (trunkline/compiled.py says which) by mypyc into .cache/compiled: a call then
# costs a third less. Once per state of the sources, some three minutes: twice, the second time knowing from a trial run
# which code is hot. At once when nothing changed. It is never needed:
# what cannot be compiled runs interpreted, and a line says why. TRUNKLINE_COMPILED=off leaves it out. compile.sh look:
# does nothing, and ends well when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
case ${TRUNKLINE_COMPILED:-} in off|0|false|no) exit 0 ;; esac
python=${VENV:-.venv}/bin/python
said=$("$python" scripts/compile.py --look) && exit 0 || status=$?
[ "${1:-}" != look ] || [ "$status" = 3 ] || exit 1
why=$(mktemp); trap 'rm -f "$why"' EXIT
if [ "$status" = 4 ]; then  # all is there but mypyc
    (step "mypyc" "$python" -m pip install --disable-pip-version-check -q "mypy>=1.19" "setuptools>=70") 2>"$why" && status=5
    said="mypyc cannot be installed"
fi
[ "$status" != 5 ] || { (step "compiling what carries each frame (some three minutes, once)" "$python" scripts/compile.py) 2>"$why" && exit 0; said=$(tail -n 1 "$why"); }
say "  not compiled: $said; the service runs interpreted, a call costs more"
