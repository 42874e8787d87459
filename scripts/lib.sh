# Shell helpers shared by the project's scripts: progress that a person can follow, Debian packages by name.
# shellcheck shell=bash

if [ -t 1 ]; then bold=$'\e[1m'; dim=$'\e[2m'; green=$'\e[32m'; red=$'\e[31m'; off=$'\e[0m'; tty=1
else bold=; dim=; green=; red=; off=; tty=; fi

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "${red}error:${off} $*" >&2; exit 1; }

# step TITLE COMMAND…: runs a command with its output in a log, shows seconds while it runs, the log's end if it fails.
step() {
    local title=$1 log start=$SECONDS shown=0 pid; shift
    log=$(mktemp)
    "$@" >"$log" 2>&1 &
    pid=$!
    [ -n "$tty" ] || printf '  %s …\n' "$title"
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if [ -n "$tty" ]; then
            printf '\r  %s … %s%ds %s%s\e[K' "$title" "$dim" $((SECONDS - start)) "$(tail -c 300 "$log" | tr '\r' '\n' | tail -n 1 | cut -c1-60)" "$off"
        elif [ $((SECONDS - start - shown)) -ge 15 ]; then
            shown=$((SECONDS - start)); printf '    … %ds\n' "$shown"
        fi
    done
    if wait "$pid"; then
        [ -n "$tty" ] && printf '\r'
        printf '  %s✓%s %s %s(%ds)%s\e[K\n' "$green" "$off" "$title" "$dim" $((SECONDS - start)) "$off" | { [ -n "$tty" ] && cat || sed 's/\x1b\[K//'; }
        rm -f "$log"
    else
        printf '\n'; tail -n 30 "$log" >&2; rm -f "$log"
        die "$title failed (the end of its output is above)"
    fi
}

# missing_packages NAME…: the Debian packages among these that are not installed.
missing_packages() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s ' "$name"
    done
}

_apt() {
    local as=(); [ "$(id -u)" = 0 ] || as=(sudo)
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# packages NAME…: installs what is missing, as root or with sudo; says what to do when it cannot.
packages() {
    local missing
    command -v dpkg-query >/dev/null || die "this is not Debian or Ubuntu. Install the equivalents of: $*, then set SKIP_APT=1."
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        die "these Debian packages are missing and you are neither root nor have sudo. As root run:
       apt-get install ${missing}"
    fi
    # shellcheck disable=SC2086
    step "Debian packages: ${missing% }" _apt $missing
}

# borrowed NAME PACKAGE: prints the path of a program of a Debian package, without installing the package and its
# service: an installed one, else .cache/tools/NAME. Prints nothing when the package here does not hold it.
borrowed() {
    local name=$1 package=$2 tool=$PWD/.cache/tools/$1 work found
    if command -v "$name"; then return 0; fi
    if [ ! -x "$tool" ]; then
        work=$(mktemp -d); chmod 755 "$work"
        (cd "$work" && apt-get download -q "$package" >&2 && dpkg-deb -x "${package}"_*.deb .) || { rm -rf "$work"; return 1; }
        found=$(find "$work" -type f -path "*bin/$name" | head -n 1)
        mkdir -p "${tool%/*}"; [ -z "$found" ] || cp "$found" "$tool"
        rm -rf "$work"
    fi
    [ ! -x "$tool" ] || echo "$tool"
}

# debian_mirror: the address that the system's own apt sources name for Debian; nothing when they name none.
debian_mirror() {
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } | sed -n \
        -e 's/^URIs: *\([^ ]*\/debian\/\{0,1\}\)\( .*\)\{0,1\}$/\1/p' -e 's/^deb \(\[.*\] \)\{0,1\}\([^ ]*\/debian\/\{0,1\}\) .*/\2/p' | head -n 1
}
