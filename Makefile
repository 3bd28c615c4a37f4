.PHONY: help check test bench mutants

PYTHON ?= .venv/bin/python

help:
	@echo "make check    lint, types, import arrows"
	@echo "make test     all tests"
	@echo "make mutants  small mistakes in the sources, which the tests have to find: hours (pip install -e '.[mutants]')"
	@echo "make bench    operations and training steps on every usable backend"
	@echo "with PYTHON=... an environment of your own; default .venv: pip install -e '.[dev]'"

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

test:
	$(PYTHON) -m pytest

bench:
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PYTHON) -m nnx bench

mutants:
	nice $(PYTHON) tests/mutants
