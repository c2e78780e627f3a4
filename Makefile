# `make demo` and `make test` set up everything they need; run them again and they start at once.

# The one line that chooses torch. It is installed first, so that nothing else pulls another build.
# For example: make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready-$(shell printf '%s' '$(TORCH)' | cksum | cut -d ' ' -f 1)

# The first Python that is new enough.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

define no_python
VoxelFeat needs Python 3.11 or newer. Install it (Debian 12: apt-get install python3 python3-venv) \
or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3
endef

define no_venv
$(PYTHON) cannot make virtual environments. Ask an administrator for the package python3-venv, \
or name another Python: make $(MAKECMDGOALS) PYTHON=/path/to/python3
endef

.PHONY: help venv demo test screens lint format bench bench-gpu clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 19

venv: $(STAMP) ## make .venv with everything installed

# Debian splits ensurepip off into python3-venv; nothing that we install needs other system packages.
$(STAMP): pyproject.toml requirements-sam2.txt
	@[ -n "$(PYTHON)" ] || { echo "$(no_python)" >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy python3-venv; \
	  fi; \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(no_venv)" >&2; exit 1; }; \
	fi
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install --editable '.[test,dev]'
	SAM2_BUILD_CUDA=0 $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation \
	  --requirement requirements-sam2.txt
	@rm -f $(VENV)/.ready-* && touch $@

demo: $(STAMP) ## fit, click and refine on a made-up CT; the results go to demo/
	$(BIN)/python -m VoxelFeatLib demo --output demo

# For example: make test TESTS="-m 'not slow'", or TESTS=Testing/library
TESTS ?=

test: $(STAMP) ## run all tests, or some: TESTS="-m 'not slow'"
	$(BIN)/python -m pytest $(TESTS)

screens: $(STAMP) ## make the user guide's pictures of slice views, in demo/screens
	$(BIN)/python -m Testing.views.pictures

lint: $(STAMP) ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## tidy the code in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Those that need no weights and no GPU, and take minutes; benchmarks/README.md describes all.
BENCHMARKS := clicks fit scene worker

bench: $(STAMP) ## print the tables of the quick ones of benchmarks/
	@set -e; for name in $(BENCHMARKS); do \
	  echo "== benchmarks/$$name.py"; $(BIN)/python benchmarks/$$name.py; \
	done

# For example: make bench-gpu MINUTES=30, or, without a GPU, MORE="--device cpu --tiny"
MINUTES ?= 9
OUTPUT ?= benchmarks/results
MORE ?=

bench-gpu: $(STAMP) ## measure all that is asked of a CUDA GPU; results go to benchmarks/results/
	$(BIN)/python benchmarks/gpu.py --output $(OUTPUT) --minutes $(MINUTES) $(MORE)

clean: ## remove what the other targets made
	rm -rf $(VENV) demo build dist benchmarks/results *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
