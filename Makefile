# `make` lists the verbs. Each makes what it needs in .venv; Python 3.11 and make suffice.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --editable
export OMP_NUM_THREADS ?= 1
export MLFLOW_DISABLE_TELEMETRY ?= true

.DEFAULT_GOAL := help
.PHONY: help demo starbucks test test-services proof bench lint clean

help:  ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

demo: .venv/.train  ## train, judge and serve omnichannel_retail, end to end
	$(BIN)/python -m experiments.support.demo

starbucks: .venv/.train  ## the real log, from raw files to a served decision (JOURNEY_DATA)
	$(BIN)/python -m experiments.support.starbucks

test: .venv/.dev  ## every test that needs Python only, on two cores
	$(BIN)/pytest --numprocesses 2 --dist loadfile

test-services: .venv/.dev  ## the tests that need a database server (Debian: postgresql) or Ray
	$(INSTALL) '.[dev,postgres,ray]'
	$(BIN)/pytest -m services

proof: .venv/.dev  ## the long statistical studies, resumable, one row a finished cell
	for record in 003_recovery 004_ablations 005_personas 006_other_learners 009_caps 010_pooled 011_samples; do \
		$(BIN)/python experiments/$$record/run.py || exit 1; done
	$(BIN)/python -m experiments.proof.run  # last: it says so where a claim does not hold

bench: .venv/.dev  ## the benchmarks, each one table with its peers
	for table in simulation solving fit learning; do $(BIN)/python -m experiments.benchmarks.$$table || exit 1; done

lint: .venv/.dev  ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove the virtual environment and every cache
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	find envs training serving tests -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: put python3.11 on the PATH" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "Python 3.11 is needed: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.train: pyproject.toml | .venv/bin/python
	$(INSTALL) '.[train]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	$(INSTALL) '.[dev]'
	@touch $@
