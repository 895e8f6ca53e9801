# The commands of this project. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help demo test install bundle registry image lint docs clients conformance api page reference report examples record fuzz overload soak

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## install what is missing, build, and read the example receipt without any key
	@scripts/install.sh
	cargo build --release --bin visiongate
	@target/release/visiongate analyze examples/receipt.png

test: ## install what is missing, and run all tests
	@scripts/install.sh tests
	cargo test --workspace --all-features

install: ## put the program into ~/.cargo/bin
	cargo install --locked --path .

bundle: ## pack target/bundle/visiongate-VERSION-OS-ARCH.mcpb, for clients that install bundles: make bundle [BINARY=…]
	$(if $(BINARY),,cargo build --release --locked --bin visiongate)
	scripts/bundle.py pack $(or $(BINARY),target/release/visiongate)
	@if command -v npx >/dev/null 2>&1; then npx --yes @anthropic-ai/mcpb@2.1.2 validate packaging/mcpb/manifest.json; fi

registry: ## describe the bundles of this version to the MCP registry, in target/bundle/server.json: make registry OWNER=…
	scripts/bundle.py registry $(or $(OWNER),$(error OWNER is the account at GitHub that publishes))

image: ## build the container image visiongate: make image [OWNER=…]
	docker build --tag visiongate $(if $(OWNER),--build-arg OWNER=$(OWNER)) .

lint: ## formatting, clippy with warnings denied, and the dependency rules where cargo-deny is installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	@if command -v cargo-deny >/dev/null 2>&1; then cargo deny check bans licenses sources; fi

docs: ## the documentation, with broken links denied
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features

clients: ## run real MCP clients against the program: Inspector, Python and TypeScript SDKs
	cargo build --release --bin visiongate
	tests/clients/run.sh

conformance: ## hold the server to the conformance suite of the protocol, with the suite's fixtures and as it is shipped
	cargo build --workspace --all-features --bin visiongate --example conformance
	tests/conformance/run.sh

api: ## let Schemathesis, OpenAI's clients and curl loose on the HTTP interface
	cargo build --release --bin visiongate
	tests/api/run.sh

page: ## drive the page in Chromium, and leave screenshots of it in target/page
	cargo build --release --bin visiongate
	tests/page/run.sh

reference: ## hold measures and statistics against jiwer, anls_star, SciPy, statsmodels and others: make reference [SEED=7]
	cargo build --example reference
	SEED=$(or $(SEED),1) tests/reference/run.sh

report: ## write a report about a run that never was into target/report, and look at it in a Chromium, with axe
	cargo build --example report
	tests/report/run.sh

record: ## put the questions of tests/wires/exchanges to a vendor, with your key: make record KIND=anthropic [BASE_URL=…]
	cargo run --package vision-providers --example record --features testkit -- $(KIND) $(BASE_URL)

overload: ## how much of its rate the server keeps when five times as much is asked: see bench/README.md
	cargo bench --bench overload

fuzz: ## fuzz a reader for a minute: make fuzz TARGET=replies (streams, frames, catalog)
	cd fuzz && cargo +nightly fuzz run $(TARGET) -- -max_total_time=60

soak: ## faults at random for two hours, and whether memory and open files grow: make soak [MINUTES=30]
	cargo bench --bench soak -- $(or $(MINUTES),120)

examples: ## draw the example images anew
	python3 -m venv target/draw
	target/draw/bin/pip --quiet install pillow segno
	target/draw/bin/python examples/draw.py
