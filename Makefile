# Thin on purpose: what a target does is one line; what the machine lacks is scripts/setup's business.
.PHONY: run demo demo-serve test bench soak fuzz lint deb image release setup setup-tests setup-package
export PATH := $(HOME)/.cargo/bin:$(PATH)

run: setup
	cargo run --release -p blueteam -- serve

demo: setup
	cargo run --release -p blueteam -- demo

demo-serve: setup
	cargo run --release -p blueteam -- demo --serve

# Most test runs begin from scratch, or after a change far below, where incremental compilation takes longer.
test: export CARGO_INCREMENTAL ?= 0
test: setup-tests
	cargo nextest run --workspace

bench: setup
	scripts/bench

soak: setup-tests setup-package
	scripts/soak

fuzz: setup
	scripts/fuzz $(FUZZ_SECONDS)

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deb: setup-package
	scripts/build-deb

image: deb
	scripts/build-image

release: setup-package
	scripts/release

setup:
	@scripts/setup

setup-tests:
	@scripts/setup --tests

setup-package:
	@scripts/setup --package
