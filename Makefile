# Two commands to know: `make demo` and `make test`. A second Python: make PYTHON=python3.12 test
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install -q -c constraints.txt
# torch goes in first: constraints.txt pins its release, so an index that offers the CPU build of
# it (a tenth of the size) has that build taken, and nothing later replaces it.

demo: $(VENV)/ready            ## simulate three recommenders, audit them, write an HTML report
	$(BIN)/loopaudit demo || [ $$? = 1 ] || [ $$? = 4 ]  # a finding is no failure of the demo

test: $(VENV)/ready            ## the quick tests
	$(BIN)/pytest -q -n auto -m "not slow"

test-slow: $(VENV)/ready       ## the tests over five seconds
	$(BIN)/pytest -q -n auto -m slow

test-all: $(VENV)/ready        ## every test
	$(BIN)/pytest -q -n auto

check: $(VENV)/ready .links    ## lint, format, types
	$(PIP) -e ".[dev]"
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e ".[test]"
	touch $@

.links:                        ## lets type checkers see the root folder as `loopaudit`
	mkdir -p .links && ln -sfn .. .links/loopaudit

.PHONY: demo test test-slow test-all check
