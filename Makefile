.PHONY: help check test test-fast test-long coverage mutants bench site serve tutorial hooks lock wheel

PYTHON ?= .venv/bin/python

help:
	@echo "make check       lint, types, import arrows, workflows"
	@echo "make test        the tests, as in the README"
	@echo "make test-fast   what to run at each change: about a minute on two cores"
	@echo "make test-long   the long proofs, some minutes; the CUDA kernels under g++'s sanitizers"
	@echo "make coverage    the tests, and which lines they ran: printed, and as htmlcov/index.html"
	@echo "make mutants     small mistakes in the sources, which the tests have to find: two or three hours (pip install -e '.[mutants]')"
	@echo "make bench       operations and training steps on every usable backend"
	@echo "make site        the documentation as a site, in site/: open site/index.html"
	@echo "make serve       the site at http://127.0.0.1:8000, anew whenever a page is saved"
	@echo "make tutorial    run the tutorial's pages, and renew what they show of their output and their figures"
	@echo "make hooks       run the checks at every commit from now on"
	@echo "make lock        renew requirements-dev.txt after a change of pyproject.toml"
	@echo "make wheel       build the distributions, look into them, run them on the oldest and newest dependencies"
	@echo "with PYTHON=... an environment of your own; default .venv: pip install -e '.[dev]'"

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
	"$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("scripts"))')/zizmor" --offline --quiet .github

test:
	$(PYTHON) -m pytest -n auto

test-fast:
	$(PYTHON) -m pytest -n auto -m "not slow and not long and not sanitizers"

test-long:
	$(PYTHON) -m pytest -n auto -m "long or sanitizers"

coverage:
	$(PYTHON) -m pytest -n auto --cov --cov-report=term --cov-report=html --cov-report=xml

bench:
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PYTHON) -m nnx bench

mutants:
	nice $(PYTHON) tests/mutants

# Silent about the announcement of another tool that the theme prints.
site:
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

serve:
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs serve --dirtyreload

tutorial:
	$(PYTHON) tests/helpers/tutorial.py

hooks:
	$(PYTHON) -m pre_commit install

# For every system and every Python from the oldest on, with hashes, and without an address: any mirror serves.
lock:
	$(PYTHON) -m uv --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --custom-compile-command "make lock" \
		--extra dev -o requirements-dev.txt pyproject.toml

wheel:
	$(PYTHON) .ci/wheel.py --oldest --dist dist
