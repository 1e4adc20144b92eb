# Every target does its own set-up. `make help` names them.

export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
# The toolchain is the one of rust-toolchain.toml.
unexport RUSTUP_TOOLCHAIN

GUEST := -p handover-arch -p handover-boot -p handover-kernel -p handover-rt -p handover-programs
GUEST_TARGET := --target x86_64-unknown-none --target-dir target/guest
SUITE := --features handover-programs/suite

.DEFAULT_GOAL := help
BUILDS := build-host build-guest build-loom check-host check-guest rustdoc-host rustdoc-guest
.PHONY: $(BUILDS) run test check proof miri fuzz bench bench-rings sabotage debug doc render rustdoc setup runner help nightly

run: setup runner ## Boot and hand a file over in four ways (ARGS="--input FILE", ARGS=--help)
	@cargo run --quiet -- $(ARGS)

test: check ## Run everything that must hold: check, host tests, QEMU suites, loom
	@$(BESIDE) build-host build-guest build-loom
	$(TESTS)
	$(MODELS)

check: setup ## Check format, lints and documentation, for the host and for the target
	cargo fmt --all --check
	@$(BESIDE) check-host check-guest

# Steps that have directories of their own, and phases that keep one CPU busy, go side by side.
BESIDE = $(MAKE) --no-print-directory --jobs=$(shell nproc)
TESTS := cargo test --workspace --features handover-ring/std
MODELS := RUSTFLAGS="--cfg loom" cargo test --release -p handover-ring -p handover-mm -p handover-ipc --target-dir target/loom \
	$(patsubst %.rs,--test %,$(notdir $(wildcard */tests/loom_*.rs)))

build-host:
	$(TESTS) --no-run
build-guest:
	cargo build -p handover-kernel -p handover-programs --bins $(GUEST_TARGET) --profile guest
	cargo build -p handover-kernel -p handover-programs --bins $(SUITE) $(GUEST_TARGET) --profile guest-checked
build-loom:
	$(MODELS) --no-run

check-host: rustdoc-host
	cargo clippy --workspace --all-targets --features handover-ring/std -- -D warnings
check-guest: rustdoc-guest
	cargo clippy $(GUEST) $(SUITE) $(GUEST_TARGET) -- -D warnings

proof: setup runner ## Compare the crates with the models for a million steps (STEPS=…), race 2.5 million messages in each form of each kind of ring, between threads and between processes, with sleepers at both ends (ROUNDS=…), run ten seeds a schedule (SEEDS=…), end lives at every entry
	HANDOVER_MODEL_STEPS=$(or $(STEPS),1000000) cargo test -p handover-tests --test host --test scarce -- model:: talk:: failures::
	HANDOVER_RING_ROUNDS=$(or $(ROUNDS),2500000) cargo test -p handover-ring --features std --test linux --test linux_processes no_wakeup_is_lost -- --nocapture
	HANDOVER_SEEDS=$(or $(SEEDS),10) cargo test -p handover-tests --test machine _schedules_of_
	@for cpus in 1 2 4; do cargo run --quiet -- --smp $$cpus --lives --timeout 3600 || exit 1; done
	cargo clippy -p handover-bench --all-targets --features iceoryx2 -- -D warnings

miri: nightly ## Run the tests of the rings under Miri, which knows what is undefined
	MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test -p handover-ring --target-dir target/miri \
		--lib --test slot --test cancel --test packet --test byte --test payload --test giving_back --test duplex --test exchange --test mpsc --test golden --test model --test model_streams \
		--test hostile --test hostile_guests --test stress --test trace --test hub --test hub_recovery --test layout --test references --test prior_art_rings

FUZZ_FLAGS := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Zsanitizer=address -Cdebug-assertions --cfg fuzzing

# The imitated machine of hostile_process never gives back what is known of its frames, which are few.
fuzz: nightly ## Let libFuzzer play a ring's hostile peer, a hub's guest, a submission ring's process and a peer on Linux (SECONDS=… each)
	@for player in hostile_peer hostile_guest hostile_process hostile_socket; do \
		mkdir -p target/fuzz/corpus/$$player; \
		(cd ring/fuzz && ASAN_OPTIONS=detect_leaks=0 RUSTFLAGS="$(FUZZ_FLAGS)" cargo +nightly run --release \
			--target x86_64-unknown-linux-gnu --target-dir ../../target/fuzz --bin $$player -- \
			-max_total_time=$(or $(SECONDS),600) -max_len=600 -len_control=0 -rss_limit_mb=4096 \
			-artifact_prefix=../../target/fuzz/$$player- ../../target/fuzz/corpus/$$player corpus/$$player) || exit 1; \
	done

nightly: setup
	@rustup component list --toolchain nightly 2>/dev/null | grep -q '^miri.*(installed)' || \
		rustup toolchain install nightly --no-self-update --profile minimal --component miri --component rust-src

bench: setup runner ## Measure the kernel paths and compare them with their limits (ARGS="--plot --verbose")
	@cargo run --quiet -- --bench $(ARGS)

bench-rings: setup ## Compare rings with other crates on this machine (ARGS="--plot --verbose")
	@cargo bench --quiet --features iceoryx2 -- $(ARGS)

sabotage: setup runner ## Take one mechanism away at a time; a named test must notice
	@cargo run --quiet --bin sabotage -- $(ARGS)

debug: setup runner ## Boot and wait for gdb before the first instruction
	@cargo run --quiet -- --gdb $(ARGS)

doc: render rustdoc ## Render docs/abi.md and docs/handover.h, build the documentation of all crates

render: setup runner
	@cargo run --quiet --bin render-docs

rustdoc: setup
	@$(BESIDE) rustdoc-host rustdoc-guest
rustdoc-host:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace $(GUEST:-p=--exclude) --features handover-ring/std --no-deps --document-private-items
rustdoc-guest:
	RUSTDOCFLAGS="-D warnings" cargo doc $(GUEST) $(SUITE) $(GUEST_TARGET) --no-deps --document-private-items

setup: ## Install what is missing: QEMU, a linker, the Rust target
	@scripts/setup

runner: setup
	@[ -x target/debug/handover ] || echo "building the runner …" >&2
	@cargo build --quiet --bins

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target text; do \
		printf 'make %-11s %s\n' "$$target" "$$text"; done
