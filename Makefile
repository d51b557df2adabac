# Targets of mss-cli; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
TORCH ?= 2.13.0
VENV := .venv
BIN := $(VENV)/bin
DEV_EXTRAS := plot evaluate train hdf5 research demo build dev
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install install-dev demo test test-all lint types check bench build lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch is pinned by version and kept out of the hash locks: which build of it (CPU, CUDA) is the machine's choice.
$(VENV)/.torch-$(TORCH):
	@$(PYTHON) -c 'import sys; sys.exit("mss-cli needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==$(TORCH)
	@touch $@

$(VENV)/.base: $(VENV)/.torch-$(TORCH) requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base requirements-dev.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

# Ray, S3 and a server for it: 150 MB that only the tests marked `cluster` need.
$(VENV)/.cluster: $(VENV)/.dev requirements-cluster.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements-cluster.lock
	@touch $@

install: $(VENV)/.base  ## create .venv with what `separate` and the demo need

install-dev: $(VENV)/.dev  ## add what tests, types and benchmarks need

demo: install  ## separate a real song excerpt and print its scores
	$(BIN)/python benchmarks/demo.py

test: install-dev  ## run the tests (under 10 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu and not stress and not browser and not cluster"

test-all: $(VENV)/.cluster  ## run every test, also those that take minutes
	$(BIN)/python -m pytest -n 2

lint: install-dev  ## check style, formatting and the layers of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install-dev  ## check types (mypy, strict)
	$(BIN)/mypy

check: lint types test  ## all of lint, types and test

bench: install-dev  ## run the benchmarks that take a minute
	$(BIN)/python benchmarks/transforms.py
	$(BIN)/python benchmarks/stage_shares.py

build: install-dev  ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

# Needs the maintainer's tool uv. The override takes torch, and the CUDA packages that come with it, out of the locks.
lock:  ## compile all locks anew
	printf 'torch; python_version < "0"\n' > .torch-override.txt
	uv pip compile pyproject.toml --extra plot --extra demo --extra build --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-emit-index-url --override .torch-override.txt --output-file requirements.lock
	uv pip compile pyproject.toml $(addprefix --extra ,$(DEV_EXTRAS)) --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-emit-index-url --override .torch-override.txt --output-file requirements-dev.lock
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-emit-index-url --override .torch-override.txt --output-file requirements-cluster.lock
	rm -f .torch-override.txt

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
