# `make demo` and `make test` set up what they need in .venv; nothing else has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FUZZ_SECONDS ?= 600

.PHONY: demo test check test-slow fuzz files docs bench clean

demo: $(STAMP)
	$(BIN)/rasteret-sql demo

test: $(STAMP) check
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# New examples for hypothesis, then coverage-guided fuzzing of whole files.
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --group fuzz
	RASTERET_FUZZ_EXAMPLES=20 $(BIN)/python -m pytest tests/fuzz
	$(BIN)/python -m tests.fuzz.fuzz_atheris -max_total_time=$(FUZZ_SECONDS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

files: $(STAMP)
	$(BIN)/python -m tests.conformance

docs: $(STAMP)
	$(BIN)/python docs/generate.py

bench: $(STAMP)
	$(BIN)/python -m benchmarks

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[dask,plot]" --group test --group lint
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
