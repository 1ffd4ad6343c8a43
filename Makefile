PYTHON ?= .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help test fast coverage lint types docs hooks

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

test:  ## all tests, on all cores
	$(PYTHON) -m pytest -n auto

fast:  ## the tests that take a minute
	$(PYTHON) -m pytest -n auto -m 'not slow'

coverage:  ## which lines the tests run, as a table and in htmlcov/
	$(PYTHON) -m pytest -n auto --cov --cov-report=term-missing:skip-covered --cov-report=html

lint:  ## format, and lint
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check .

types:  ## annotations
	$(PYTHON) -m mypy

docs:  ## the site, into site/
	PYTHONPATH=docs $(PYTHON) -m mkdocs build --strict -f docs/mkdocs.yml

hooks:  ## checks before each commit
	$(PYTHON) -m pre_commit install
