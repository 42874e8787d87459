#!/usr/bin/env bash
# The tests of a frame's path once more, with its modules as machine code (docs/adr/0007-compiled-frames.md).
# compiled.sh [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
export TRUNKLINE_COMPILED=$PWD/.cache/compiled
scripts/compile.sh
.venv/bin/python -c 'import sys, trunkline; sys.exit(not trunkline.RUNS.startswith("compiled") and trunkline.RUNS)' ||
    die "the modules are not compiled (a C compiler and python3-dev are needed): nothing was tested"
scripts/pytest.sh tests/unit/test_compiled.py tests/unit/test_websocket_frames.py tests/unit/bridge tests/unit/codecs \
    tests/unit/calls tests/unit/ai tests/conformance tests/wire/test_media_socket.py tests/wire/test_media_frames.py \
    tests/wire/test_gemini_session.py tests/wire/test_gemini_link.py tests/wire/test_twilio.py "$@"
