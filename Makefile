# Each target sets up what it needs in .venv; nothing else has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The server needs DuckDB 1.5.5, which is the last version that has a wheel of the extension quack.
SERVE_VENV ?= .venv-serve
SERVE_BIN := $(SERVE_VENV)/bin
SERVE_STAMP := $(SERVE_VENV)/.installed
# What is installed, by what it is for: the command line; the tests; the documents.
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-for-tests
DOCS_STAMP := $(VENV)/.installed-for-docs
# `make test TORCH=` leaves torch out, which may be gigabytes; the tests that want it are skipped then.
TORCH ?= --group torch
FUZZ_SECONDS ?= 600
# The seed of `make test-random` and `make fuzz`. The same seed draws the same examples.
ifndef SEED
SEED := $(shell date +%s)
endif

INSTALL := $(BIN)/python -m pip install --quiet

.PHONY: demo shell serve test test-random test-slow test-servers test-faults test-load test-matrix test-kernels fuzz check hooks files docs site bench clean

demo: $(STAMP)
	$(BIN)/rasteret-sql demo

# The prompt, with the index of `make demo` as the view s2.
shell: demo/s2.parquet
	$(BIN)/rasteret-sql shell demo/s2.parquet

# The functions for the stock `duckdb` shell, on the files of this folder. Ctrl-C ends the server.
serve: demo/s2.parquet | $(SERVE_STAMP)
	$(SERVE_BIN)/rasteret-sql serve --allow-dir . --write-client client.sql

demo/s2.parquet: | $(STAMP)
	$(BIN)/rasteret-sql demo

# pytest-xdist would run the files with the fewest tests last; some of these are the longest, and one process would wait.
test: $(TEST_STAMP) check
	$(BIN)/python -m pytest -m "not slow and not servers and not faults and not load and not ray and not spark" \
		-n 2 --dist loadfile --no-loadscope-reorder

# The tests of `make test` that draw examples, with other examples in each run.
test-random: $(TEST_STAMP)
	@echo "make test-random SEED=$(SEED) draws these examples again"
	$(BIN)/python -m pytest -m "hypothesis and not slow and not servers and not faults and not load and not ray and not spark" -n 2 --hypothesis-profile=random --hypothesis-seed=$(SEED)

test-slow: $(TEST_STAMP)
	$(BIN)/python -m pytest -m slow

# nginx, SeaweedFS, Ceph, Azurite and fake-gcs-server, as far as they are there: `bash tests/servers/install.sh` installs them.
test-servers: $(TEST_STAMP)
	$(BIN)/python -m pytest -m servers tests/servers

# Faults of servers at several rates, through every door; then docs/faults.md is written.
test-faults: $(TEST_STAMP)
	@echo "make test-faults SEED=$(SEED) draws these requests again"
	RASTERET_FAULT_SEED=$(SEED) $(BIN)/python -m pytest -m faults tests/faults
	$(BIN)/python -m tests.faults

# Many threads, processes, clients and tiles.
test-load: $(TEST_STAMP)
	$(BIN)/python -m pytest -m load tests/load

# A local cluster of Ray with two nodes; Ray is installed in an environment of its own.
test-ray:
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet --editable ".[ray]" hypothesis "pytest>=9.0"
	.venv-ray/bin/python -m pytest -m ray tests/integrations/test_ray.py

# A local Spark, which needs Java; likewise.
test-spark:
	$(PYTHON) -m venv .venv-spark
	.venv-spark/bin/python -m pip install --quiet --editable ".[spark]" hypothesis "pytest>=9.0"
	.venv-spark/bin/python -m pytest -m spark tests/integrations/test_spark.py

# The tests of `make test` on other Pythons and DuckDBs, as far as this machine has them.
test-matrix:
	$(PYTHON) -m tests.matrix

# Accesses out of bounds and undefined behaviour of the C code end these tests. The usual module is compiled again afterwards.
test-kernels: $(TEST_STAMP)
	CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover" $(BIN)/python hatch_build.py
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
		$(BIN)/python -m pytest tests/read/test_compiled.py tests/read/test_resample.py; \
		status=$$?; $(BIN)/python hatch_build.py && exit $$status

# More examples than `make test-random` draws, then coverage-guided fuzzing of whole files.
fuzz: $(TEST_STAMP)
	$(INSTALL) --group fuzz
	@echo "make fuzz SEED=$(SEED) draws these examples again"
	RASTERET_FUZZ_EXAMPLES=20 $(BIN)/python -m pytest tests/fuzz -o faulthandler_timeout=0 \
		--hypothesis-profile=random --hypothesis-seed=$(SEED)
	$(BIN)/python -m tests.fuzz.fuzz_atheris -max_total_time=$(FUZZ_SECONDS)

check: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# `git commit` runs `make check` from then on.
hooks: $(TEST_STAMP)
	$(BIN)/pre-commit install

files: $(TEST_STAMP)
	$(BIN)/python -m tests.conformance

docs: $(DOCS_STAMP)
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/outputs.py
	$(BIN)/python docs/pictures.py
	$(INSTALL) --group notebooks
	$(BIN)/python docs/notebooks.py

# The documents as a site, in build/site; a warning is an error.
site: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(TEST_STAMP)
	$(BIN)/python -m benchmarks

$(STAMP): pyproject.toml hatch_build.py $(wildcard kernels/*)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable ".[dask,plot,shell]"
	touch $(STAMP)

$(SERVE_STAMP): pyproject.toml
	@echo "DuckDB 1.5.5, its shell and its extension quack are installed in $(SERVE_VENV). $(VENV) stays as it is."
	$(PYTHON) -m venv $(SERVE_VENV)
	$(SERVE_BIN)/python -m pip install --quiet --editable ".[serve]"
	touch $(SERVE_STAMP)

$(TEST_STAMP): $(STAMP)
	$(INSTALL) --upgrade "pip>=25.1"
	$(INSTALL) --editable ".[dask,plot,shell,notebook]" \
		--group test --group lint --group docs $(TORCH)
	touch $(TEST_STAMP)

$(DOCS_STAMP): $(STAMP)
	$(INSTALL) --upgrade "pip>=25.1"
	$(INSTALL) --group docs
	touch $(DOCS_STAMP)

clean:
	rm -rf $(VENV) $(SERVE_VENV) .venv-ray .venv-spark client.sql demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
