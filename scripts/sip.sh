#!/usr/bin/env bash
# SIP's one part that is built here: the wheel pjsua2 (docker/pjsua2), made once per recipe and Python into .cache/wheels
# and installed into .venv. SIP is optional: whatever goes wrong is told in one line, SIP stays off, and this ends well.
# TRUNKLINE_SIP=off: nothing is built. RETRY=1: try again what failed before.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
case ${TRUNKLINE_SIP:-on} in off|0|false|no) exit 0 ;; esac

venv=$(cd "${VENV:-.venv}" && pwd) wheels=.cache/wheels
tools=(build-essential swig patch libssl-dev libspeexdsp-dev python3-dev)
# As in build.sh: what goes into the wheel names it.
recipe=$(cat docker/pjsua2/build.sh docker/pjsua2/config_site.h docker/pjsua2/trunkline_*.[ch] docker/pjsua2/patches/*.patch | sha256sum | cut -c1-8)
abi=$("$venv/bin/python" -c 'import sys; print(f"cp{sys.version_info.major}{sys.version_info.minor}")')

wheel() { local found; for found in "$wheels"/pjsua2-*+trunkline."$recipe-$abi"-*.whl; do [ ! -f "$found" ] || { echo "$found"; return; }; done; }
absent() { command -v dpkg-query >/dev/null && missing_packages "${tools[@]}" || true; }

stamp=$venv/.trunkline-sip state="$recipe $abi"
[ "$(cat "$stamp" 2>/dev/null)" = "installed $state" ] && exit 0

off() {  # off WHY: the one line, now and at the next starts, until something is different
    local told="SIP is off"
    ! "$venv/bin/python" -c 'import pjsua2' 2>/dev/null || told="SIP keeps its earlier build of pjsua2"
    printf '%s\n' "failed $state $(absent)" "$told: $1" >"$stamp"
    say "  $told: $1"
    say "  All else works. To try again: RETRY=1 scripts/sip.sh · to leave it so: TRUNKLINE_SIP=off"
    exit 0
}
if [ -z "${RETRY:-}" ] && [ "$(head -n 1 "$stamp" 2>/dev/null)" = "failed $state $(absent)" ]; then
    say "  $(sed -n 2p "$stamp") (RETRY=1 scripts/sip.sh tries again)"
    exit 0
fi

why=$(mktemp); trap 'rm -f "$why"' EXIT
if [ -z "$(wheel)" ]; then
    lacking=$(absent)
    if [ -n "$lacking" ] && [ -z "${SKIP_APT:-}" ] && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }; then
        (packages "${tools[@]}") 2>"$why" || off "the Debian packages ${lacking% } cannot be installed"
    fi
    # It says by itself what is missing: a compiler, a header, the sources. PEP 517: an older pip without it wants the
    # package `wheel` in the environment.
    if ! (PIP_USE_PEP517=1 PYTHON=$venv/bin/python step "SIP: building pjsua2 (a few minutes, once)" docker/pjsua2/build.sh "$wheels") 2>"$why"; then
        said=$(grep '^pjsua2: ' "$why" | tail -n 1 | sed 's/^pjsua2: //')
        case $said in
            missing:*|upstream*|Debian*|neither*|these*|setup.py*) off "$said" ;;
            *) off "the build of pjsua2 broke${said:+ after: $said}; docker/pjsua2/build.sh $wheels shows all of it" ;;
        esac
    fi
fi
(step "SIP: pjsua2" "$venv/bin/python" -m pip install --disable-pip-version-check -q --no-deps --no-index "$(wheel)") 2>"$why" &&
    "$venv/bin/python" -c 'import pjsua2' 2>>"$why" || off "pjsua2 was built but cannot be used: $(tail -n 1 "$why")"
printf '%s' "installed $state" >"$stamp"
