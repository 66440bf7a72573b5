# The soak: real processes in C and Python on one store, killed, stopped and forked.

TESTS_SOAK := tests/soak
SOAK ?= 60s
SOAK_RUN = $(PYTHON) $(TESTS_SOAK)/soak.py --bin $(BUILD)/soak

.PHONY: soak test-soak soak-programs

## soak: processes in C and Python killed at any instruction (SOAK=20m for so long, SEED=7)
soak: soak-programs install-python
	$(SOAK_RUN) --for $(SOAK) $(if $(SEED),--seed $(SEED))

# Its checker first: one that finds nothing wrong with a bad history proves nothing.
test-soak: soak-programs install-python
	$(PYTHON) -m pytest -q -p no:cacheprovider -c python/pyproject.toml --rootdir . $(TESTS_SOAK)
	$(SOAK_RUN) --for 60s

soak-programs: library
	mkdir -p $(BUILD)/soak
	for name in producer consumer clerk; do \
	  $(CC) $(CFLAGS_STRICT) -Iinclude $(TESTS_SOAK)/$$name.c $(TESTS_SOAK)/work.c \
	    -o $(BUILD)/soak/$$name -L$(RELEASE) -lqueue -Wl,-rpath,$(RELEASE); \
	done
	$(CC) $(CFLAGS_STRICT) $(TESTS_SOAK)/stepper.c $(TESTS_SOAK)/locks.c -o $(BUILD)/soak/stepper
