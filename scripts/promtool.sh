#!/usr/bin/env bash
# Puts Debian's promtool into .cache/tools without installing the prometheus service. Prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$PWD/.cache/tools/promtool
if command -v promtool >/dev/null; then command -v promtool; exit 0; fi
if [ ! -x "$tool" ]; then
    work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; chmod 755 "$work"
    (cd "$work" && apt-get download -q prometheus >&2 && dpkg-deb -x prometheus_*.deb .)
    mkdir -p "$(dirname "$tool")"; found=$(find "$work" -type f -name promtool | head -n 1)
    [ -n "$found" ] || { echo "Debian's prometheus package here holds no promtool: its check is left out" >&2; exit 0; }
    cp "$found" "$tool"
fi
echo "$tool"
