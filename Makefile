# make demo   the whole thing on this machine, on real input, ending in the ledger proof
# make test   every test suite that fits in a quarter of an hour
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEEDS ?= 20000
RUNS ?= 5
INPUTS ?= 1000000

.PHONY: setup demo test bench simulate chaos fuzz lint lock

setup: $(READY)

$(READY): pyproject.toml requirements-test.lock lab/kafka/pom.xml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m lab.kafka.broker install
	touch $@

demo: $(READY)
	$(BIN)/streams demo

test: $(READY)
	$(BIN)/python -m pytest

bench: $(READY)
	$(BIN)/python -m tests.bench --json bench.json

simulate: $(READY)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

chaos: $(READY)
	$(BIN)/python -m tests.chaos --runs $(RUNS)

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-header --no-annotate --python-version 3.11 -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --extra demo --extra test -o requirements-test.lock
