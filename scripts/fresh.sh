#!/usr/bin/env bash
# Proves the README on machines that have nothing: a bare Debian 12 chroot runs `make run` and `make test`,
# a bare Debian 13 chroot (Python 3.13) runs the unit tests. Needs root and mmdebstrap.
#   scripts/fresh.sh [bookworm|trixie|all] [run|test|unit …]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
[ "$(id -u)" = 0 ] || die "make fresh builds chroots: run it as root"
packages mmdebstrap

base=$(mktemp -d -t trunkline-fresh.XXXXXX)
chmod 755 "$base"
roots=()
cleanup() {
    for root in "${roots[@]}"; do
        for point in proc dev; do mountpoint -q "$root/$point" && umount -l "$root/$point"; done
    done
    rm -rf --one-file-system "$base"
}
trap cleanup EXIT

build() {  # build SUITE: a minimal root with this commit cloned into /opt/trunkline
    local root=$base/$1
    roots+=("$root")
    step "bare $1" mmdebstrap -q --variant=apt --include=ca-certificates,make,git "$1" "$root"
    mount --bind /proc "$root/proc"; mount --bind /dev "$root/dev"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"; chmod 755 "$root/usr/sbin/policy-rc.d"
    git clone -q --no-local . "$root/opt/trunkline"
}

inside() {  # inside SUITE COMMAND: with an empty environment, as a new user's shell
    chroot "$base/$1" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM="${TERM:-dumb}" \
        bash -c "cd /opt/trunkline && $2"
}

run_demo() {  # `make run` must show its call, serve, and stop when told
    inside "$1" 'set -m; export PORT=8766; make run >run.log 2>&1 & job=$!
        trap "kill -TERM -- -$job 2>/dev/null; wait $job" EXIT
        for _ in $(seq 900); do
            grep -q "Ctrl-C stops" run.log && break
            kill -0 $job 2>/dev/null || break
            sleep 1
        done
        sed -e "s/\r/\n/g" run.log | tail -n 60
        grep "SIP" run.log || cat .venv/.trunkline-sip  # it may be off; then it says why
        grep -q "Ctrl-C stops" run.log || { echo "make run did not come up in 900 s"; exit 1; }
        grep -q "A demonstration call" run.log && ! grep -q "demonstration call failed" run.log || exit 1
        kill -0 $job || { echo "make run does not go on serving"; exit 1; }'
}

want=${1:-all}; shift || true
parts=${*:-run test}
case $want in bookworm|all)
    say "${bold}Debian 12, Python 3.11${off}"
    build bookworm
    for part in $parts; do case $part in
        run) run_demo bookworm ;;
        test) inside bookworm 'make test' ;;
        unit) inside bookworm 'make setup && scripts/pytest.sh tests/unit' ;;
    esac; done ;;
esac
case $want in trixie|all)
    say "${bold}Debian 13, Python 3.13${off}"
    build trixie
    inside trixie 'scripts/setup.sh dev && .venv/bin/python --version && export PROMTOOL=$(scripts/promtool.sh) && scripts/pytest.sh tests/unit' ;;
esac
say "${green}fresh machines: fine${off}"
