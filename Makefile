.DEFAULT_GOAL := help
.PHONY: help setup demo test check check-slow lint types format docs bench gpu-check check-size clean

PYTHON ?= python3
BIN := .venv/bin

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: .venv/ready  ## make .venv and install piva with its development tools

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "piva needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]' && touch $@

demo: setup  ## edit an object in 3D by the paper's method, a few minutes on a laptop
	$(BIN)/python -m piva.run task=nerf dataset=noe score=piva lambda=0.4

# Workers of one thread each: threads that fight over a core are slower than none.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test: setup  ## the tests but the slow ones, on all cores; no GPU and no network needed
	$(PYTEST) -m "not slow"

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

format: setup  ## put the code in its canonical form
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: setup  ## the site, into build/site; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: lint types test docs  ## what CI runs first, and you before a commit

check-slow: setup  ## the slow tests: clusters, training, other renderers, killed processes
	$(PYTEST) -m slow

bench: setup  ## seconds, memory and network evaluations of the main commands
	$(BIN)/python -m benchmarks.main

gpu-check: setup  ## what steps at Stable Diffusion's size cost on this GPU, nine minutes; writes benchmarks/gpu.md
	$(BIN)/python -m benchmarks.gpu

check-size: setup  ## one step of each kind at that size on the CPU, random weights: memory and passes, some minutes
	$(BIN)/python -m benchmarks.size

clean:  ## remove caches of tools; never outputs
	rm -rf .mypy_cache .pytest_cache .ruff_cache build *.egg-info
