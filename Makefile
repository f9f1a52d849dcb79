# What needs installing, these targets install: a C compiler, and for the tests Rust's formatter and
# linter, a C++ compiler and Java.

CARGO ?= cargo
# JAVA=no waives every comparison with a Java server; the summary says so.
export JAVA

.PHONY: build run test setup bench simulate mutations clean

build:
	@scripts/setup.sh build
	$(CARGO) build --release --locked -p rookeeper

# A server on defaults: client port 2181, data in ./data.
run: build
	exec "$${CARGO_TARGET_DIR:-target}"/release/rookeeper server

# Format, lints as errors, unit and scenario tests, tidy, a short fuzz run, interop with Java.
test: setup
	scripts/test.sh

setup:
	@scripts/setup.sh

# Against any ZooKeeper: make bench ARGS="load --server 127.0.0.1:2181 ..."
bench: build
	"$${CARGO_TARGET_DIR:-target}"/release/rookeeper bench $(ARGS)

# Whole ensembles in one thread and one seed each, until something is found or N seeds are done:
# make simulate, make simulate SEEDS=20000 FIRST=1 MEMBERS=3,5 JOBS=2
SEEDS ?= 0
FIRST ?= 1
MEMBERS ?= 3,5
JOBS ?= 1
simulate:
	ROOKEEPER_COMMIT=$$(git rev-parse --short HEAD) $(CARGO) run --release --locked \
		-p rookeeper-sim -- run --seeds $(SEEDS) --first $(FIRST) --members $(MEMBERS) \
		--jobs $(JOBS) $(ARGS)

# Known bugs put back, one at a time: the simulator has to find each of the quickest ones.
# The others, by hand: docs/simulation.md.
mutations:
	$(CARGO) test --profile mutations --locked -p rookeeper-sim --features mutations \
		--test mutations

clean:
	$(CARGO) clean
