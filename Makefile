# The commands of a developer, one target each. A machine needs python3 (3.11 or newer) with venv, make and a package
# index. Each target first updates its own environment to pyproject.toml.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Without this, pyright asks the network for a newer version of itself before every run.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SUPPORTED  = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
DEMO_NEEDS = $(PYTHON) -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*project["dependencies"], *project["optional-dependencies"]["fastapi"], "uvicorn>=0.30", sep="\n")'

.DEFAULT_GOAL := help
.PHONY: help run test properties check check-oldest lint format redis simulate simulate-long bench bench-page bench-core bench-quick bench-simulation build docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Each purpose has its own environment: a reader who starts the demo need not wait for the development tools.
$(READY):           EXTRAS := all,dev
.venv-build/.ready: EXTRAS := build
.venv-docs/.ready:  EXTRAS := docs

$(READY) .venv-build/.ready .venv-docs/.ready: pyproject.toml
	@$(SUPPORTED)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	@touch $@

# The dependencies of the demo, without the build tools that an editable installation downloads.
.venv-run/.ready: pyproject.toml
	@$(SUPPORTED)
	$(PYTHON) -m venv $(@D)
	@$(DEMO_NEEDS) >$(@D)/requirements.txt
	$(@D)/bin/python -m pip install --quiet --no-compile --requirement $(@D)/requirements.txt
	@touch $@

run: PORT ?= 8000
run: .venv-run/.ready ## Serve the demo application on the in-memory store (PORT=8000)
	@echo "The demo answers on http://127.0.0.1:$(PORT) until Ctrl-C"
	@PYTHONPATH=src:adapters exec .venv-run/bin/uvicorn --app-dir docs/examples demo:app --host 127.0.0.1 --port $(PORT)

test: TESTS ?= tests
test: $(READY) ## Run the tests, without long simulations and benchmarks (TESTS=tests/domain)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(TESTS)

properties: $(READY) ## Run the property-based tests with more examples, and a campaign that must reach its coverage goals
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "hypothesis and not hunt" tests

lint: $(READY) ## Check format, lint, types and import contracts; change nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

check: $(READY) ## Run lint, then test, as CI does
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test

# The oldest versions that pyproject.toml permits. Hypothesis runs fewer examples than with the newest ones.
.venv-oldest/.ready: pyproject.toml tests/oldest.py
	@$(SUPPORTED)
	$(PYTHON) -m venv $(@D)
	$(PYTHON) tests/oldest.py >$(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --constraint $(@D)/constraints.txt --editable '.[all,dev]'
	@touch $@

check-oldest: .venv-oldest/.ready ## Run the tests with the oldest dependencies that are permitted
	HYPOTHESIS_PROFILE=dev .venv-oldest/bin/python -m pytest --numprocesses auto --dist worksteal $(TESTS)

format: $(READY) ## Format the code, and apply the fixes of ruff
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

redis: PORT ?= 6380
redis: $(READY) ## Start the Redis or Valkey of the tests in the foreground (PORT=6380)
	@exec $(BIN)/python -m tests.redis_server --port $(PORT)

simulate: $(READY) ## Simulate the cluster with faults for a few minutes, with the same plans every time
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest tests/campaign tests/cluster tests/simulation -m "not hunt"

simulate-long: $(READY) ## Simulate the cluster with faults for a night, with new plans every time
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest tests/campaign tests/cluster tests/simulation -m ""

bench: $(READY) ## Compare this project with similar ones, a quarter of an hour (ONLY=A,C PEERS=taskiq,arq: a part)
	$(BIN)/python -m tests.benchmarks.compare --only '$(ONLY)' --peers '$(PEERS)'

bench-page: $(READY) ## Write docs/explanation/performance.md from the last result of `make bench` (BREAKDOWN=file.json)
	$(BIN)/python -m tests.benchmarks.report .cache/bench/result.json $(BREAKDOWN)

bench-core: $(READY) ## Measure the rules of the core, its threads and its processes, without a store
	$(BIN)/python -m tests.benchmarks.core
	$(BIN)/python -m tests.benchmarks.threads
	$(BIN)/python -m tests.benchmarks.processes

bench-quick: $(READY) ## Measure the frequent operations of every store, in some seconds
	$(BIN)/python -m tests.benchmarks.quick

bench-simulation: $(READY) ## Measure the speed of the simulation
	$(BIN)/python -m tests.benchmarks.simulation
	$(BIN)/python -m tests.benchmarks.simulation_of_schedules

build: .venv-build/.ready ## Build wheel and sdist into dist/, and test each in a clean environment
	rm -rf dist
	.venv-build/bin/python -m build --no-isolation
	.venv-build/bin/python -m twine check --strict dist/*
	.venv-build/bin/python -m tests.smoke dist/*

docs: .venv-docs/.ready ## Build the documentation site into docs/site and check it
	.venv-docs/bin/python -m tests.docs.site

clean: ## Remove the environments, caches and builds
	rm -rf $(VENV) .venv-run .venv-build .venv-docs .venv-oldest build dist docs/site docs/.cache .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
