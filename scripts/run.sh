#!/usr/bin/env bash
# `make run`: sets up, starts the service, places one demonstration call (DEMO=off leaves it out), goes on serving.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
scripts/setup.sh run

export HOST=${HOST:-127.0.0.1} PORT=${PORT:-8006} DATA_DIR=${DATA_DIR:-data}
mkdir -p "$DATA_DIR" 2>/dev/null && [ -w "$DATA_DIR" ] ||
    die "the data folder $DATA_DIR cannot be made or written; choose another: DATA_DIR=./data make run"
log=$DATA_DIR/trunkline.log
say "${bold}Trunkline${off} starts on http://$HOST:$PORT ${dim}(log: $log)${off}"
.venv/bin/trunkline serve "$@" --log-file "$log" &
service=$!
compiling=
stop() { trap - INT TERM; [ -z "$compiling" ] || kill -TERM -- "-$compiling" 2>/dev/null || true; kill -TERM "$service" 2>/dev/null || true; wait "$service" || true; exit 0; }
trap stop INT TERM

alive() { kill -0 "$service" 2>/dev/null || { wait "$service"; exit $?; }; }

near=$HOST; case $near in 0.0.0.0|::|'') near=127.0.0.1 ;; esac
for _ in $(seq 300); do
    alive
    .venv/bin/python - "$near" "$PORT" <<'PY' 2>/dev/null && break
import sys, urllib.request
urllib.request.urlopen(f"http://{sys.argv[1]}:{sys.argv[2]}/ready", timeout=2)
PY
    sleep 0.2
done
sleep 0.2; alive  # it may have been another service that answered, on a port that ours could not have

if [ "${DEMO:-on}" != off ]; then
    say "" "${bold}A demonstration call.${off} A simulated carrier calls the built-in agent; nothing leaves this machine."
    .venv/bin/python -m trunkline_sim.demo --to "ws://$near:$PORT/smartflo/audio" --out "$DATA_DIR/calls" ||
        say "${red}The demonstration call failed${off}; the service goes on. Look into $log, or run: .venv/bin/trunkline doctor"
fi
cat <<NEXT

${bold}Serving${off} on http://$near:$PORT. Ctrl-C stops. In another terminal, try:
  .venv/bin/trunkline call --script examples/order.call     order a pizza, interrupt the agent, see the picture
  .venv/bin/trunkline call --script examples/hours.call --voice slt
  .venv/bin/trunkline doctor                                what is missing, and what to paste into Smartflo's portal
  http://$near:$PORT/docs                                   the API, to read and to try
NEXT
# Behind the demonstration, on time that nobody else wants: the next start is the cheaper one.
if ! scripts/compile.sh look; then
    say "${dim}Meanwhile, once, what carries each frame is compiled (some three minutes); the next start runs it.${off}"
    setsid nice -n 19 scripts/compile.sh >>"$DATA_DIR/compile.log" 2>&1 &
    compiling=$!
fi
wait "$service"
