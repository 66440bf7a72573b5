# libqueue: `make demo` and `make test` set up all they need inside this folder; they want a Rust
# toolchain, a C compiler, make, and Python 3.10 or newer with venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

ROOT := $(CURDIR)
BUILD := $(ROOT)/build
VENV := $(BUILD)/venv
PYTHON := $(VENV)/bin/python
CARGO ?= cargo
CC ?= cc
CFLAGS_STRICT := -std=c99 -O2 -Wall -Wextra -Werror -pedantic
RELEASE := $(ROOT)/target/release

.PHONY: all library demo test test-rust test-models test-c test-demo fuzz models lint-rust lint bench bench-short bench-readme peers header install clean help
.DEFAULT_GOAL := all

include python/build.mk
include tests/soak/build.mk
include tests/prove/build.mk

## all: the C library, libqueue.so and libqueue.a, in target/release
all: library

library:
	$(CARGO) build --release --locked -p libqueue-ffi

## install: header, libraries, pkg-config and CMake files, to PREFIX (/usr/local), below DESTDIR
PREFIX ?= /usr/local
install: library
	bash cmake/install.sh "$(RELEASE)" "$(PREFIX)" "$(DESTDIR)"

## header: writes include/libqueue.h anew from ffi/src
header:
	LIBQUEUE_WRITE_HEADER=1 $(CARGO) test --locked -p libqueue-ffi --test header

## demo: 336,776 flights through C and Python processes, one of them killed (INPUT=file.csv)
INPUT ?= $(BUILD)/data/flights.csv
demo: library install-python demo-programs demo-data
	$(PYTHON) demo/run.py --input $(INPUT) --bin $(BUILD)/demo $(DEMO_ARGS)

.PHONY: demo-programs demo-data
demo-programs: library $(VENV)/demo.stamp
	mkdir -p $(BUILD)/demo
	for name in send_flights count_flights; do \
	  $(CC) $(CFLAGS_STRICT) -Iinclude demo/$$name.c -o $(BUILD)/demo/$$name \
	    -L$(RELEASE) -lqueue -Wl,-rpath,$(RELEASE); \
	done

$(VENV)/demo.stamp: demo/requirements.txt | venv
	$(PYTHON) -m pip install --quiet -r demo/requirements.txt
	touch $@

demo-data: | venv
	if [ "$(INPUT)" = "$(BUILD)/data/flights.csv" ]; then $(PYTHON) demo/fetch.py $(BUILD)/data; fi

## test: everything: Rust, C, Python, header, stubs, linters, models, demo, benches, a minute of soak
##   (LIBQUEUE_TEST_REQUIRE=ptrace,unshare,small_disk,valgrind: what may not be left out)
test: lint test-rust test-models test-c test-python test-prove test-demo test-soak bench-short

test-rust:
	$(CARGO) test --locked --profile checked -p libqueue -p libqueue-ffi -p libqueue-benches

## test-large: messages of 1 GiB, in Rust, C and Python, which `test` leaves out (it wants 4 GiB of
##   memory and 2 GiB of disk)
.PHONY: test-large
test-large: library install-python
	$(CARGO) test --locked --profile checked -p libqueue --test sizes -- --ignored
	LIBQUEUE_TEST_LARGE=1 bash tests/c/run.sh large
	LIBQUEUE_TEST_LARGE=1 $(PYTHON) -m pytest -q -p no:cacheprovider -c python/pyproject.toml \
	  --rootdir . $(TESTS_PYTHON)/test_sizes.py -k largest

# The models in their short form.
MODELS := $(CARGO) test --locked --release --manifest-path core/models/Cargo.toml --target-dir $(BUILD)/models
test-models:
	$(MODELS)
	$(MODELS) --features shuttle

## models: lock, event count, publishing and group commit under loom and shuttle, with wide bounds
models:
	LIBQUEUE_MODELS=long $(MODELS)
	LIBQUEUE_MODELS=long $(MODELS) --features shuttle

## fuzz: every decoder, opening, control and the model under libFuzzer (FUZZ=20m, TARGETS="control model")
FUZZ ?= 5m
fuzz:
	CARGO="$(CARGO)" bash core/fuzz/run.sh $(FUZZ) $(TARGETS)

test-c: library
	bash tests/c/run.sh

# The demo with its processes killed again and again.
test-demo: library install-python demo-programs demo-data
	$(PYTHON) demo/run.py --input $(INPUT) --bin $(BUILD)/demo --chaos 7

## soak-sim: crash simulation for SIM seconds (default 1200); a failure prints a seed that replays it
SIM ?= 1200
.PHONY: soak-sim
soak-sim:
	LIBQUEUE_SIM_SECONDS=$(SIM) $(CARGO) test --locked --profile checked -p libqueue --lib -- \
	  simulation::soak --exact --nocapture

## soak-model: random operations on a group's window against the model (OPERATIONS=10000000)
OPERATIONS ?= 10000000
.PHONY: soak-model
soak-model:
	LIBQUEUE_MODEL_OPERATIONS=$(OPERATIONS) $(CARGO) test --locked --profile checked -p libqueue \
	  --lib -- group::tests::p6_p9_p10_p11_p12_the_window_agrees_with_the_model --exact --nocapture

## lint: formatter and linters, warnings as errors
lint: lint-rust lint-python

lint-rust:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) fmt --check --manifest-path core/models/Cargo.toml
	$(CARGO) clippy --locked --manifest-path core/models/Cargo.toml --target-dir $(BUILD)/models \
	  --features shuttle --lib --tests -- -D warnings
	$(CARGO) fmt --check --manifest-path core/fuzz/Cargo.toml
	$(CARGO) fmt --check --manifest-path benches/peers/rust/Cargo.toml
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --quiet --no-deps -p libqueue

## bench: the workloads beside the machine's limits and the peers in build/peers, as one table of
##   ratios, written to benches/results (ONLY=w1,w5 for some of them)
#   (LIBQUEUE_BENCH_CGROUP: a memory cgroup for the cold reads to make their own in.)
ONLY ?=
BENCH = LIBQUEUE_PYTHON=$(PYTHON) LIBQUEUE_BENCH_C=$(BUILD)/bench/bench $(RELEASE)/libqueue-bench \
	--dir $(BUILD) --peers $(BUILD)/peers/bin $(if $(ONLY),--only $(ONLY))
bench: bench-programs
	$(BENCH) --results benches/results --plot $(BUILD)/throttle.svg

# Every row, and no more of it than shows that it works.
bench-short: bench-programs
	$(BENCH) --short --results $(BUILD)/bench-short --plot $(BUILD)/throttle-short.svg

## bench-readme: writes the README's figures from the newest results
bench-readme:
	python3 benches/readme.py

.PHONY: bench-programs
bench-programs: library install-python
	$(CARGO) build --release --locked -p libqueue-benches
	mkdir -p $(BUILD)/bench
	$(CC) -std=c11 -O2 -Wall -Wextra -Werror -pedantic -Iinclude benches/c/bench.c \
	  -o $(BUILD)/bench/bench -L$(RELEASE) -lqueue -Wl,-rpath,$(RELEASE)

## peers: builds what a user could pick instead, for bench, into build/peers (PEERS="rust")
peers:
	CARGO="$(CARGO)" bash benches/peers/install.sh $(PEERS)

## clean: removes what was built
clean:
	rm -rf $(BUILD) target

help:
	@grep -h '^## ' $(MAKEFILE_LIST) | sed 's/^## //'
