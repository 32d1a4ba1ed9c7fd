# Everything a newcomer needs: `make demo` plays the scenario, `make test` runs the tests.

PYTHON ?= python3
# The training extra needs PyTorch. Another build of it is chosen here, for example one with CUDA:
#   make setup TORCH='torch==2.13.0 --index-url <index of the build>'
TORCH ?= torch==2.13.0
SCENARIO ?= mri-tumor-segmentation
# A folder that keeps everything the demo made; empty means a temporary one.
DEMO_DIR ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# OPA as a library, which the policies are compared with; it stays out of the project's environment.
ORACLE := .venv-oracle
ORACLE_STAMP := $(ORACLE)/.installed
AZURITE := tests/service/node_modules/.bin/azurite-blob
EXTRAS := azure,opa,service,postgres,train,demo,dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check bench

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with everything in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed; set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: setup ## Play a scenario: SCENARIO=mri-tumor-segmentation, mnist or ich-ct
	@$(BIN)/depa demo --scenario $(SCENARIO) $(if $(DEMO_DIR),--dir '$(DEMO_DIR)') $(DEMO_FLAGS)

test: setup ## Run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' -n auto --maxprocesses 4 --dist loadfile

test-all: setup $(AZURITE) $(ORACLE_STAMP) ## Run the tests that take minutes (Azurite from npm)
	$(BIN)/python -m pytest -m slow

$(ORACLE_STAMP): tests/oracle/requirements.txt
	$(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python -r $<
	@touch $@

$(AZURITE): tests/service/package-lock.json
	npm ci --prefix tests/service --no-audit --no-fund --silent
	@touch $@

check: setup ## Run linters, type checker and the architecture's rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m policies.lint

bench: setup $(ORACLE_STAMP) ## Run the benchmarks, one JSON object each
	@for program in benchmarks/*.py; do echo "== $$program" >&2; $(BIN)/python "$$program" --json || exit; done
