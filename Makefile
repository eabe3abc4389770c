# The two commands are `make run` and `make test`; both set up what is missing first. `make help` lists the others.

CARGO ?= cargo
ADDRESS ?= 127.0.0.1:8080
DATA_DIR ?= ./data
# One profile for everything, so that dependencies are compiled once.
PROFILE := --release
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run test setup build lint format doc fuzz-api bench bench-sandbox clean

help: ## Show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: build ## Build, start a server for development, deploy the examples
	@CARGO_TARGET_DIR=$(TARGET_DIR) ADDRESS=$(ADDRESS) DATA_DIR=$(DATA_DIR) scripts/run.sh

test: build ## Run every test (the first time, install an MQTT broker for them)
	@scripts/setup.sh tests
	$(CARGO) test $(PROFILE) --workspace
	cd guest && CARGO_TARGET_DIR=$(abspath $(TARGET_DIR))/guest/tests $(CARGO) test

setup: ## Install what is missing: the WebAssembly target and a C compiler
	@scripts/setup.sh

build: setup ## Build the server, the command line and the guest
	$(CARGO) build $(PROFILE) --workspace --locked

lint: setup ## Formatting and clippy, with warnings denied
	$(CARGO) fmt --all --check
	cd guest && $(CARGO) fmt --check
	cd tests/baseline && $(CARGO) fmt --check
	$(CARGO) clippy $(PROFILE) --workspace --all-targets --locked -- -D warnings
	cd guest && CARGO_TARGET_DIR=$(abspath $(TARGET_DIR))/guest/tests $(CARGO) clippy --all-targets -- -D warnings

format: ## Format every source file
	$(CARGO) fmt --all
	cd guest && $(CARGO) fmt
	cd tests/baseline && $(CARGO) fmt

doc: setup ## Build the reference of the crates, with warnings denied
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc $(PROFILE) --workspace --no-deps --locked --document-private-items

fuzz-api: build ## Make requests from the description of the API, and hold the answers against it (needs Python)
	CARGO_TARGET_DIR=$(TARGET_DIR) scripts/fuzz-api.sh

bench: build ## Measure against a native server without isolation (needs wrk); BENCH_ARGS=--quick is shorter
	cd tests/baseline && CARGO_TARGET_DIR=$(abspath $(TARGET_DIR))/baseline $(CARGO) build --release --locked
	$(CARGO) run $(PROFILE) --locked --package picloud-tests --bin bench -- $(BENCH_ARGS)

bench-sandbox: build ## Measure calls, uploads and cold scripts without HTTP
	$(CARGO) bench --locked --package picloud-tests --bench sandbox

clean: ## Remove what was built
	rm -rf $(TARGET_DIR)
