#!/usr/bin/env bash
# Puts Debian's promtool into .cache/tools without installing the prometheus service. Prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
tool=$(borrowed promtool prometheus)
[ -n "$tool" ] || { echo "Debian's prometheus package here holds no promtool: its check is left out" >&2; exit 0; }
say "$tool"
