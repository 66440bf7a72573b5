# The Python package: a virtual environment in build/venv, the wheel, its tests and linters.

WHEELS := $(BUILD)/wheels
PYTHON_SOURCES = $(shell find core/src ffi/src python/src python/package python/pyproject.toml \
  Cargo.toml Cargo.lock -name '*.rs' -o -name '*.py*' -o -name '*.toml' -o -name '*.lock')
TESTS_PYTHON := tests/python

.PHONY: venv wheel install-python test-python lint-python

venv: $(VENV)/stamp

$(VENV)/stamp: python/requirements-dev.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r python/requirements-dev.txt
	touch $@

## wheel: the Python package, in build/wheels
wheel: $(WHEELS)/stamp

$(WHEELS)/stamp: $(VENV)/stamp $(PYTHON_SOURCES)
	rm -rf $(WHEELS)
	$(VENV)/bin/maturin build --quiet --release --locked -m python/Cargo.toml \
	  --target-dir target -o $(WHEELS) -i $(PYTHON)
	touch $@

install-python: $(VENV)/installed

$(VENV)/installed: $(WHEELS)/stamp
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
	  $(WHEELS)/*.whl
	touch $@

# In development mode, warnings as errors, in the processes that tests start too: no file and no
# memory may be left to be collected, and what is called wrongly is told.
test-python: install-python
	PYTHONDEVMODE=1 PYTHONWARNINGS=error $(PYTHON) -m pytest -q -p no:cacheprovider \
	  -c python/pyproject.toml --rootdir . $(TESTS_PYTHON)

lint-python: install-python
	$(VENV)/bin/ruff format --config python/pyproject.toml --no-cache --check \
	  python/package $(TESTS_PYTHON) $(TESTS_SOAK) $(TESTS_PROVE) demo benches
	$(VENV)/bin/ruff check --config python/pyproject.toml --no-cache \
	  python/package $(TESTS_PYTHON) $(TESTS_SOAK) $(TESTS_PROVE) demo benches
	cd $(BUILD) && $(VENV)/bin/mypy --config-file $(ROOT)/python/pyproject.toml \
	  --cache-dir $(BUILD)/mypy -p libqueue
	for tests in $(TESTS_PYTHON) $(TESTS_SOAK) $(TESTS_PROVE) benches/peers/python; do \
	  (cd $$tests && $(VENV)/bin/mypy --config-file $(ROOT)/python/pyproject.toml \
	    --cache-dir $(BUILD)/mypy .); \
	done
	cd benches && $(VENV)/bin/mypy --config-file $(ROOT)/python/pyproject.toml \
	  --cache-dir $(BUILD)/mypy *.py
	cd $(BUILD) && $(PYTHON) -m mypy.stubtest libqueue \
	  --mypy-config-file $(ROOT)/python/pyproject.toml
