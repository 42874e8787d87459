#!/usr/bin/env bash
# Builds the self-contained wheel `pjsua2` (pjproject 2.17, libsrtp2, our gate) for one Python and leaves it in a folder.
#
#   docker/pjsua2/build.sh [OUT]        OUT: folder for the wheel, default .cache/wheels; prints the wheel's path
#   PYTHON=/path/to/python3  JOBS=2  PJSUA2_SOURCES=upstream|debian (default: upstream, then Debian)
#
# Nothing is installed on the system and the system's apt is left alone. Where no compiler is there, it says what to install.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}; jobs=${JOBS:-$(nproc)}
out=$(mkdir -p "${1:-$here/../../.cache/wheels}" && cd "${1:-$here/../../.cache/wheels}" && pwd)

pj_version=2.17
pj_url=https://github.com/pjsip/pjproject/archive/refs/tags/$pj_version.tar.gz
pj_sha=065fe06c06788d97c35f563796d59f00ce52fe9558a52d7b490a042a966facce
srtp_url=https://github.com/cisco/libsrtp/archive/refs/tags/v2.5.0.tar.gz
srtp_sha=8a43ef8e9ae2b665292591af62aa1a4ae41e468b6d98d8258f91478735da4e09

note() { printf '%s\n' "pjsua2: $*" >&2; }
die() { printf '%s\n' "pjsua2: $*" >&2; exit 1; }

# What goes into the wheel decides its name's tag, so that another recipe makes another wheel.
recipe=$(cat "$here/build.sh" "$here/config_site.h" "$here"/trunkline_*.[ch] "$here"/patches/*.patch | sha256sum | cut -c1-8)
abi=$("$python" -c 'import sys; print(f"cp{sys.version_info.major}{sys.version_info.minor}")')
for wheel in "$out"/pjsua2-"$pj_version"+trunkline."$recipe"-"$abi"-*.whl; do
    [ -f "$wheel" ] && { echo "$wheel"; exit 0; }
done

missing=()
for tool in gcc g++ make swig patch; do command -v $tool >/dev/null || missing+=("$tool"); done
for header in openssl/ssl.h speex/speex_resampler.h; do
    echo "#include <$header>" | gcc -E -x c - >/dev/null 2>&1 || missing+=("$header")
done
"$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || missing+=(Python.h)
[ ${#missing[@]} = 0 ] || die "missing: ${missing[*]}. On Debian: apt-get install build-essential swig patch libssl-dev libspeexdsp-dev python3-dev
        Without them SIP stays off; all else works (TRUNKLINE_SIP=off says that this is wanted)."

work=$(mktemp -d -t pjsua2.XXXXXX); trap 'rm -rf "$work"' EXIT
cd "$work"; mkdir pj srtp deps deps/lib

fetch() {  # fetch URL SHA FILE
    "$python" - "$1" "$3" <<'PY' && echo "$2  $3" | sha256sum -c --quiet
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=20) as there, open(sys.argv[2], "wb") as here:
    while chunk := there.read(1 << 16):
        here.write(chunk)
PY
}

from_upstream() {
    fetch $pj_url $pj_sha pj.tar.gz 2>upstream.log && fetch $srtp_url $srtp_sha srtp.tar.gz 2>>upstream.log || return 1
    tar xf pj.tar.gz -C pj --strip-components=1 && tar xf srtp.tar.gz -C srtp --strip-components=1
}

from_debian() {  # the same sources, as Debian carries them: asterisk's component Xpjproject (sid), libsrtp2 (bookworm)
    command -v apt-get >/dev/null || return 1
    mkdir -p apt/lists/partial apt/cache/archives/partial && : >apt/status
    local mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg suite
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sed -n \
        -e 's/^URIs: *\([^ ]*\/debian\/\{0,1\}\)\( .*\)\{0,1\}$/\1/p' -e 's/^deb \(\[.*\] \)\{0,1\}\([^ ]*\/debian\/\{0,1\}\) .*/\2/p' | head -n 1)
    [ -n "$mirror" ] || return 1
    for suite in sid bookworm; do echo "deb-src [signed-by=$keys] $mirror $suite main"; done >apt/sources.list
    local apt=(apt-get -q -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State="$work/apt"
        -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt/cache"
        -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
    "${apt[@]}" update >&2 && "${apt[@]}" source --download-only asterisk libsrtp2=2.5.0-3 >&2 || return 1
    tar xf asterisk_*.orig-Xpjproject.tar.xz -C pj --strip-components=1 && tar xf libsrtp2_2.5.0.orig.tar.gz -C srtp --strip-components=1
}

note "fetching the sources"
case ${PJSUA2_SOURCES:-} in
    upstream) from_upstream || die "upstream's sources cannot be had: $(tail -n 1 upstream.log)" ;;
    debian) from_debian || die "Debian's sources cannot be had" ;;
    *) from_upstream || { note "upstream cannot be reached, taking the same sources from Debian"; from_debian; } ||
        die "neither upstream nor Debian can be reached: SIP stays off (TRUNKLINE_SIP=off says that this is wanted)" ;;
esac
grep -q "PJ_VERSION_NUM_MAJOR *2" pj/pjlib/include/pj/config.h 2>/dev/null || [ -f pj/version.mak ] || die "these are no sources of pjproject"

note "libsrtp2"
deps=$work/deps
(cd srtp && ./configure --prefix="$deps" --enable-openssl CFLAGS="-O2 -fPIC -fvisibility=hidden" >&2 && make -j"$jobs" libsrtp2.a >&2 && make install >&2)
# The archive by itself in a folder that the linker sees first: it cannot choose a shared one.
ln -s "$(gcc -print-file-name=libspeexdsp.a)" deps/lib/libspeexdsp.a

note "pjproject"
cd pj
for patch in "$here"/patches/*.patch; do patch -p1 --fuzz=2 <"$patch" >&2; done
sed -i 's/ bdimad_dev\.o//' pjmedia/build/Makefile  # its source is not in Debian's archive
cp "$here/config_site.h" pjlib/include/pj/config_site.h
off=(sound video sdl ffmpeg v4l2 openh264 vpx libyuv libwebrtc speex-aec speex-codec gsm-codec ilbc-codec g7221-codec opencore-amr silk bcg729 lyra upnp libuuid opus)
# NDEBUG: a failed assertion fails a call, not the process. The two -D: pjproject's names for functions that libsrtp2 calls otherwise.
./aconfigure --enable-epoll --with-external-srtp --enable-speex-resample "${off[@]/#/--disable-}" \
    CFLAGS="-O2 -g0 -DNDEBUG -fPIC -fvisibility=hidden -I$deps/include -Dsrtp_aes_gcm_256_openssl=srtp_aes_gcm_256 -Dsrtp_aes_gcm_128_openssl=srtp_aes_gcm_128" \
    CXXFLAGS="-O2 -g0 -DNDEBUG -fPIC" LDFLAGS="-L$deps/lib" LIBS="-lspeexdsp -lssl -lcrypto" >&2
make -j"$jobs" lib >&2

note "the Python module"
cd pjsip-apps/src/swig/python
top=$work/pj
includes=(); for part in pjlib pjlib-util pjnath pjmedia pjsip; do includes+=("-I$top/$part/include"); done
swig -python -c++ -threads -w312 "${includes[@]}" -o pjsua2_wrap.cpp ../pjsua2.i >&2
cp "$here"/trunkline_*.[ch] .
sed -i -e 's/\["pjsua2_wrap.cpp"\]/["pjsua2_wrap.cpp", "trunkline_gate.c", "trunkline_answers.c"]/' -e "s/version=pj_version,/version='$pj_version+trunkline.$recipe',/" setup.py
grep -q trunkline_gate.c setup.py || die "setup.py is not as expected"
PJDIR=$top CFLAGS="-O1 -g0 -fvisibility=hidden" LDFLAGS="-s -Wl,--exclude-libs,ALL -Wl,--gc-sections" \
    "$python" -m pip wheel -q --disable-pip-version-check --no-deps -w "$out" . >&2
ls "$out"/pjsua2-"$pj_version"+trunkline."$recipe"-"$abi"-*.whl
