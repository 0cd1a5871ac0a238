# treasuryd: everything a newcomer, a developer or the pipeline calls.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONFIG ?= config/dev.toml
ARGS ?=
SEEDS ?= 3000
SEED ?=
FIRST ?= 0
TIME ?= 60
TARGETS ?=
ROUNDS ?= 14
WORKERS ?= 2

.PHONY: help venv run demo devnet test lint format sim sim-long crash io-faults chaos bench bench-scrape metrics monitor monitor-down dashboards bugs evidence evidence-matrix coverage mutation model fuzz lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## the environment: the newest Python from 3.11 on, packages pinned by hash

$(STAMP): requirements.lock pyproject.toml tools/bootstrap.sh
	@sh tools/bootstrap.sh $(VENV)
	@touch $(STAMP)

run: $(STAMP) ## run the daemon with the embedded development chain and pay the sample batch
	$(BIN)/treasuryd run --config $(CONFIG) --submit config/samples $(ARGS)

demo: $(STAMP) ## the same, with a summary table, and an end
	$(BIN)/treasuryd demo $(ARGS)

devnet: $(STAMP) ## the development chain alone
	$(BIN)/treasuryd devnet $(ARGS)

lint: $(STAMP) ## format check, ruff, mypy strict, import contracts
	$(BIN)/ruff format --check daemon tests tools
	$(BIN)/ruff check daemon tests tools
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## write the format
	$(BIN)/ruff format daemon tests tools
	$(BIN)/ruff check --fix daemon tests tools

test: lint ## lint, then every test, a file at a time on each core; warnings are errors
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

sim: $(STAMP) ## simulated histories: SEEDS=3000 FIRST=0 on all cores; SEED=42 replays one
	$(BIN)/python -m tests.simulation $(if $(SEED),$(SEED) --loud,--first $(FIRST) --count $(SEEDS)) $(ARGS)

sim-long: $(STAMP) ## 200,000 of them, recorded for docs/evidence.md
	$(BIN)/python -m tests.simulation --count 200000 --record $(ARGS)

crash: $(STAMP) ## a death at each await and statement that makes a difference: ARGS="--stride 1" for all others too
	$(BIN)/python -m tests.crash --record $(ARGS)

bugs: $(STAMP) ## hunt every planted bug with the simulator, from seed 0, recorded for docs/evidence.md
	$(BIN)/python -m tests.simulation.bugs --record $(ARGS)

evidence-matrix: $(STAMP) ## each row of the failure matrix: injected, and missed when its rule is removed; recorded
	$(BIN)/python -m tests.evidence.collect

evidence: $(STAMP) ## write docs/evidence.md from the records in docs/evidence/
	$(BIN)/python tools/evidence.py

io-faults: $(STAMP) ## disks that fail, fill up and lose power, many rounds (needs root and gcc), recorded for docs/evidence.md
	IO_FAULTS_ROUNDS=$(ROUNDS) IO_FAULTS_RECORD=1 $(BIN)/python -m pytest tests/chaos/io -q $(ARGS)

chaos: $(STAMP) ## real processes: 1,000 kills, 30 pauses, judged from outside, recorded; ARGS="--kills 200 --no-record"
	PYTHONPATH=daemon:. $(BIN)/python -m tests.chaos.marathon $(ARGS)

monitor: $(STAMP) ## Prometheus, Alertmanager and, where installed, Grafana on loopback over the running daemon
	@$(BIN)/python -m tools.monitor up $(ARGS)

monitor-down: $(STAMP) ## end them
	@$(BIN)/python -m tools.monitor down $(ARGS)

dashboards: $(STAMP) ## write monitoring/grafana_*_dashboard.json from tools/boards/
	$(BIN)/python -m tools.dashboards

bench: $(STAMP) ## end to end: daemon and devnet as processes, N payouts from intake to final
	$(BIN)/python tools/bench.py $(ARGS)

bench-scrape: $(STAMP) ## what a scrape costs at 100,000 disbursements, waiting and finalized
	$(BIN)/python -m tests.telemetry.cost
	$(BIN)/python -m tools.bench_scrape $(ARGS)

metrics: $(STAMP) ## write docs/metrics.md from the registry
	$(BIN)/python tools/metrics_page.py

coverage: $(STAMP) ## every line and branch of the code that guards money is run by its own tests, or this fails; recorded
	$(BIN)/python tools/coverage_gate.py $(ARGS)

mutation: $(STAMP) ## change the code that guards money a little at a time: which tests notice? ARGS="--only lease"
	$(BIN)/python tools/mutation.py --json docs/evidence/mutation.json $(ARGS)

model: $(STAMP) ## search the models of docs/model.md to the end with Spin, and write the page's figures
	$(BIN)/python -m tests.model.figures

fuzz: requirements-fuzz.lock ## coverage-guided fuzzing of every parser of foreign input, TIME=60 seconds each (Linux)
	@test -x .venv-fuzz/bin/python || $(BIN)/python -m venv .venv-fuzz
	@.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    -r requirements.lock -r requirements-fuzz.lock
	PYTHONPATH=daemon:. .venv-fuzz/bin/python -m tests.fuzz.run $(TIME) $(TARGETS)

lock: ## pin every package by hash again (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header \
	    --python-version 3.11 pyproject.toml --group dev -o requirements.lock
	uv pip compile --generate-hashes --no-emit-index-url --no-header \
	    --python-version 3.11 --group fuzz -o requirements-fuzz.lock

clean: ## forget environment, caches and development state
	@test ! -d .state/monitor || $(BIN)/python -m tools.monitor down
	rm -rf $(VENV) .venv-fuzz .state .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
