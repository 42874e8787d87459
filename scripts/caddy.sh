#!/usr/bin/env bash
# Puts Debian's caddy into .cache/tools without installing its service. Prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
tool=$(borrowed caddy caddy)
[ -n "$tool" ] || die "Debian's caddy package here holds no caddy"
say "$tool"
