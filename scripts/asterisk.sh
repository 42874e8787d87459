#!/usr/bin/env bash
# Asterisk as Debian unstable has it (Debian 12 has none), unpacked into .cache/asterisk for the tests: nothing is
# installed on this machine. As root; once, then it is there. SIP peers' tests run it by chroot.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
root=$PWD/.cache/asterisk
[ ! -f "$root/.complete" ] || exit 0
[ "$(id -u)" = 0 ] || die "the chroot is built by root"
packages mmdebstrap
mirror=$(debian_mirror)
[ -n "$mirror" ] || die "the system's apt sources name no mirror of Debian"

options=(--aptopt='Acquire::Check-Valid-Until "false"')  # a mirror that stands still is one nevertheless
while read -r option; do options+=("--aptopt=${option%;}"); done < <(apt-config dump | grep -E '^Acquire::https?::' || true)
# Unpacked, not configured: its scripts would make users and services, of which a test needs none.
rm -rf --one-file-system "$root" && mkdir -p "${root%/*}"
step "Asterisk of Debian unstable" mmdebstrap -q --mode=root --format=directory --variant=extract \
    --include=base-files,asterisk,asterisk-core-sounds-en-wav "${options[@]}" sid "$root" \
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main"
mkdir -p "$root"/{mnt,dev,proc}  # where the tests mount theirs
touch "$root/.complete"
