# `make run` and `make test` are all a newcomer needs; the rest are thin names over real commands.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
CHOICE := $(VENV)/.torch
# Which torch: `cpu`, `gpu`, or any pip requirement, wheel or options (see "Which torch" in README.md). The last choice
# is kept.
TORCH ?= $(or $(shell cat $(CHOICE) 2>/dev/null),cpu)
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
EXPLAIN := { echo "The packages could not be installed: is there a network, and is there disk space? Then run make again."; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help run demo test lint format types contracts check benchmark doctor clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

run: $(STAMP) ## everything in one process, on http://localhost:8000 (PORT=... for another)
	@PORT=$(PORT) $(BIN)/python manage.py up $(ARGS)

demo: $(STAMP) ## events through the whole way, results printed
	@$(BIN)/python manage.py demo $(ARGS)

test: $(STAMP) ## every test: on SQLite alone, or on the services that SUITE_*_URL name
	@$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP) ## style of the source
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(STAMP) ## mend the style
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

types: $(STAMP) ## type check
	@$(BIN)/mypy suite domains workers

contracts: $(STAMP) ## who may import whom
	@$(BIN)/lint-imports

check: lint types contracts ## all of the above, and that no migration is missing
	@$(BIN)/python manage.py makemigrations --check --dry-run
	@$(BIN)/python manage.py check

benchmark: $(STAMP) ## list the benchmarks; ARGS="index" runs one
	@$(BIN)/python manage.py benchmark $(ARGS)

doctor: $(STAMP) ## is every service reachable, every setting sane
	@$(BIN)/python manage.py doctor

clean: ## remove the virtual environment (the data in var/ stays)
	rm -rf $(VENV)

# The environment is built again when the dependencies or the choice of torch change; otherwise no network is needed.
$(STAMP): pyproject.toml $(CHOICE)
	@echo "Installing the packages that pyproject.toml names"
	@$(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*p["dependencies"], *p["optional-dependencies"]["dev"], sep="\n")' > $(VENV)/requirements.txt
	@$(PIP) -r $(VENV)/requirements.txt || $(EXPLAIN)
	@touch $@

$(CHOICE): | $(BIN)/python
	@echo "Installing torch ($(TORCH)); the first time takes minutes"
	@if [ -e $@ ]; then $(BIN)/python -m pip uninstall --quiet --yes torch; fi
	@$(PIP) $(TORCH_REQUIREMENT) || $(EXPLAIN)
	@printf '%s' '$(TORCH)' > $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Suite needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "The virtual environment could not be made: is python3-venv installed, and is there disk space?"; exit 1; }

ifneq ($(TORCH),$(shell cat $(CHOICE) 2>/dev/null))
$(CHOICE): FORCE
endif
FORCE:

# `cpu` takes a release that is also built without CUDA: pip prefers that build wherever an index of yours offers it.
ifeq ($(TORCH),cpu)
TORCH_REQUIREMENT := 'torch==2.13.*'
else ifeq ($(TORCH),gpu)
TORCH_REQUIREMENT := 'torch>=2.9,!=2.13.0+cpu'
else
TORCH_REQUIREMENT := $(TORCH)
endif
