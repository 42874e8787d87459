# make run · make test: the two commands of the README. The rest is for those who change the code.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run:  ## set up, show one demonstration call, go on serving (DEMO=off, HOST, PORT, DATA_DIR)
	@scripts/run.sh

setup:  ## only set up for development
	@scripts/setup.sh dev

check: setup  ## format, lint, types, contracts, pure tests: seconds
	@scripts/check.sh

test: setup  ## everything: checks, unit, wire and peer tests; installs what it needs
	@scripts/test.sh

fresh:  ## both commands in bare Debian chroots (12 with Python 3.11; 13 with Python 3.13, unit tests)
	@scripts/fresh.sh

bench: setup  ## the figures of bench/RESULTS.md, measured again
	@scripts/bench.sh

soak: setup  ## a quarter of an hour of load: many at once, churn, abandonment, rotation, and what is left behind
	@$(PY) -m pytest -m soak tests/soak -s -q -p no:cacheprovider

soak-small: setup  ## the same in four minutes
	@SOAK=small $(PY) -m pytest -m soak tests/soak -s -q -p no:cacheprovider

soak-rotation: setup  ## two hours: 50 calls, each model connection sent away every minute (OUT=FILE for the samples)
	@mkdir -p var && OPENBLAS_NUM_THREADS=1 $(PY) -m bench.rotation --out $${OUT:=var/rotation.jsonl} && \
	$(PY) -m bench.rotation --summary "$$OUT"

soak-churn: setup  ## 10,000 short calls at 10 per second against the simulated model (OUT=FILE for the samples)
	@mkdir -p var && OPENBLAS_NUM_THREADS=1 $(PY) -m bench.churn --out $${OUT:=var/churn.jsonl} && \
	$(PY) -m bench.churn --summary "$$OUT"

interop: setup  ## SIP beside others: baresip, Kamailio, Asterisk, torture messages, strangers, kills (a quarter of an hour)
	@scripts/interop.sh

compiled: setup  ## the tests of a frame's path once more, with its modules compiled (two to five minutes)
	@scripts/compiled.sh

fuzz: setup  ## 100,000 mutated messages per carrier; prints what they reached
	@TRUNKLINE_FUZZ=$${TRUNKLINE_FUZZ:-100000} $(PY) -m pytest tests/unit/bridge -k fuzz -s -q -p no:cacheprovider

sim: setup  ## the simulated phone network's own help
	@.venv/bin/trunkline sim --help

docs: setup  ## rewrite the generated parts of docs/
	@scripts/docs.sh

.PHONY: help run setup check test fresh bench soak soak-small soak-rotation soak-churn interop compiled fuzz sim docs
