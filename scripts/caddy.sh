#!/usr/bin/env bash
# Puts Debian's caddy into .cache/tools without installing its service. Prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$PWD/.cache/tools/caddy
if command -v caddy >/dev/null; then command -v caddy; exit 0; fi
if [ ! -x "$tool" ]; then
    work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; chmod 755 "$work"
    (cd "$work" && apt-get download -q caddy >&2 && dpkg-deb -x caddy_*.deb .)
    mkdir -p "$(dirname "$tool")"; cp "$work/usr/bin/caddy" "$tool"
fi
echo "$tool"
