# Everything a person does with a clone. `make` alone lists it.
# No target needs anything but Python 3.11 first; `make check` names whatever else is missing, and how to get it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
KEEP ?= 1
PYTEST ?=

.DEFAULT_GOAL := help
.PHONY: help demo up down reset test bench lock check

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

$(READY): requirements-dev.lock pyproject.toml
	@echo "creating $(VENV) from requirements-dev.lock (once, and again when that changes) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: $(READY) ## the main job on one machine, until Ctrl-C; KEEP=0 ends after the summary
	@exec $(BIN)/guanxi demo $(if $(filter 0,$(KEEP)),--no-keep)

up: $(READY) ## Kafka, the store and the four services, in the background
	@$(BIN)/guanxi up

down: $(READY) ## stops them; the data stays
	@$(BIN)/guanxi down

reset: down ## stops them and deletes the data
	@rm -rf "$${GUANXI_DATA_DIR:-.guanxi}"

test: $(READY) ## lint, types, import rules, all tests on a real Kafka and a real store
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(PYTEST)

bench: $(READY) ## the benchmarks: a table of ratios, a JSON file
	$(BIN)/python -m tests.bench

lock: $(READY) ## writes the lock files anew from requirements*.in
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe -o requirements.lock requirements.in
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe -o requirements-dev.lock requirements-dev.in

check: $(READY) ## what this machine has and lacks
	@$(BIN)/guanxi doctor
