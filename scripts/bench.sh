#!/usr/bin/env bash
# The figures of bench/RESULTS.md, measured again: half an hour of a machine that does nothing else. `bench.sh NAME…` for some.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
all=(leaks offline_capacity store audio_quality call_path media_path)
[ $# -gt 0 ] && all=("$@")
say "load before: $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) cores"
for name in "${all[@]}"; do
    start=$SECONDS
    say "${bold}$name${off}"
    .venv/bin/python -m "bench.$name"
    say "${dim}$((SECONDS - start)) s${off}"
done
