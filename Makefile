.PHONY: help check test bench

PYTHON ?= .venv/bin/python

help:
	@echo "make check   lint, types, import arrows"
	@echo "make test    all tests"
	@echo "make bench   operations and training steps on every usable backend"
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
