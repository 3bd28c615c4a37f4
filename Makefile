.PHONY: help check test test-fast test-long bench

PYTHON ?= .venv/bin/python

help:
	@echo "make check       lint, types, import arrows"
	@echo "make test        the tests, as in the README"
	@echo "make test-fast   what to run at each change: under a minute on two cores"
	@echo "make test-long   the long proofs, some minutes; the CUDA kernels under g++'s sanitizers"
	@echo "make bench       operations and training steps on every usable backend"
	@echo "with PYTHON=... an environment of your own; default .venv: pip install -e '.[dev]'"

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

test:
	$(PYTHON) -m pytest -n auto

test-fast:
	$(PYTHON) -m pytest -n auto -m "not slow and not long and not sanitizers"

test-long:
	$(PYTHON) -m pytest -n auto -m "long or sanitizers"

bench:
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PYTHON) -m nnx bench
