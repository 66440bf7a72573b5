# Planted bugs: the suites have to find each of them.

TESTS_PROVE := tests/prove

.PHONY: prove test-prove

## prove: plants one bug after the other and shows which suite finds it (BUGS="name name")
prove: install-python
	CARGO="$(CARGO)" $(PYTHON) $(TESTS_PROVE)/prove.py $(BUGS)

# That the list fits the sources, and the documentation the list.
test-prove: venv
	$(PYTHON) -m pytest -q -p no:cacheprovider -c python/pyproject.toml --rootdir . $(TESTS_PROVE)
