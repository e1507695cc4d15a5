# make demo   the whole thing on this machine, on real input, ending in the ledger proof
# make test   every test suite that ends within 20 minutes
# Both need Python 3.11 or later and make, and fetch everything else once. KAFKA_BOOTSTRAP_SERVERS spares Kafka's jars.
PYTHON ?= $(firstword $(foreach name,python3 python3.11 python3.12 python3.13,$(if $(shell $(name) -c \
	'import sys; print(sys.version_info[:2] >= (3, 11) or "")' 2>/dev/null),$(name))) python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOG := $(VENV)/setup.log
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11
OURS := --no-emit-package b1-streams --no-emit-package b1-streams-lab
SEEDS ?= 20000
RUNS ?= 5
INPUTS ?= 1000000

.PHONY: setup demo test bench simulate mutants chaos fuzz lint lock wheels

setup: $(READY)

# Packages by their hashes, then our two distributions as they lie here, then Kafka's jars.
$(READY): pyproject.toml lab/pyproject.toml requirements-test.lock lab/kafka/jars.sha256
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or later is needed, and $(PYTHON) is $$(command -v $(PYTHON) >/dev/null && $(PYTHON) -V 2>&1 || echo "not there"); name another one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment; install its venv package (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "Installing Python's packages into $(VENV)"
	@$(PIP) install --retries 2 --require-hashes -r requirements-test.lock >$(LOG) 2>&1 || { \
		echo "Python's packages could not be installed: is the network there? pip's own words are in $(LOG)" >&2; exit 1; }
	@$(PIP) install --no-deps --no-build-isolation -e . -e ./lab >$(LOG) 2>&1 || { \
		echo "b1-streams could not be installed into $(VENV): see $(LOG)" >&2; exit 1; }
	@$(BIN)/python -m lab.kafka
	@touch $@

demo: $(READY)
	$(BIN)/streams demo

test: $(READY)
	$(BIN)/python -m pytest

bench: $(READY)
	$(BIN)/python -m tests.bench --json bench.json

simulate: $(READY)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

mutants: $(READY)
	$(BIN)/python -m tests.mutants --json mutants.json

chaos: $(READY)
	$(BIN)/python -m tests.chaos --runs $(RUNS)

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

lock: $(READY)
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --extra lab --extra test $(OURS) -o requirements-test.lock
	$(COMPILE) --group build -o requirements-build.lock

# Two wheels in dist/: what production runs, and the lab.
wheels: $(READY)
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist . ./lab
