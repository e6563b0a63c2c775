# Everything a person does with a clone. `make` alone lists it.
# Needs Python 3.11 to begin with; `make doctor` names whatever else is missing, and how to get it.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
BENCH := .venv-bench/.installed
KEEP ?= 1
PYTEST ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-in-memory up down reset lint check test bench lock doctor

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	@echo "creating .venv from requirements-dev.lock (about a minute; again only when that changes) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

# The rival in the benchmarks wants other versions than we do.
$(BENCH): requirements-bench.lock
	@echo "creating .venv-bench from requirements-bench.lock …"
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

demo: $(READY) ## the main job on one machine, until Ctrl-C; KEEP=0 ends after the summary
	@exec $(BIN)/guanxi demo $(if $(filter 0,$(KEEP)),--no-keep)

demo-in-memory: $(READY) ## the same in one process with nothing but Python; nothing is kept
	@exec $(BIN)/guanxi demo --in-memory $(if $(filter 0,$(KEEP)),--no-keep)

up: $(READY) ## Kafka, the store and the four services, in the background
	@$(BIN)/guanxi up

down: $(READY) ## stops them; the data stays
	@$(BIN)/guanxi down

reset: $(READY) ## stops them and deletes the data
	@$(BIN)/guanxi down --delete

lint: $(READY) ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## lint and the tests that need no servers: seconds
	$(BIN)/python -m pytest tests/unit $(PYTEST)

test: lint ## lint and all tests, on a real Kafka and a real store
	$(BIN)/python -m pytest $(PYTEST)

bench: $(READY) $(BENCH) ## the benchmarks: a table of ratios, a JSON file
	$(BIN)/python -m tests.bench

lock: $(READY) ## writes the lock files anew from requirements*.in
	for name in requirements requirements-dev requirements-bench; do \
	  $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-emit-find-links -o $$name.lock $$name.in || exit 1; \
	done

doctor: $(READY) ## what this machine has and lacks
	@$(BIN)/guanxi doctor
