# Two commands do everything, installs included: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test lint bench clean

# Installed again whenever the dependencies change.
$(VENV)/installed: setup.cfg setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/python tests/demo.py

test: $(VENV)/installed
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check tfvoice tests bin setup.py
	$(BIN)/ruff format --check tfvoice tests bin setup.py

bench: $(VENV)/installed
	$(BIN)/python tests/benchmarks/run.py

clean:
	rm -rf $(VENV) .venv-tfio demo build
