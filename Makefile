# The few commands of this project; `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:
.DEFAULT_GOAL := help

PYTHON ?= python3
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
VENV := python/.venv
VENV_DONE := $(VENV)/.done
# What the benchmark of no-op tasks compares with.
OTHERS := $(TARGET)/bench-python
OTHERS_LOCK := benches/python/requirements.lock
LOCKS := python/requirements.lock python/requirements-test.lock
PIP := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check --no-input
# What is appended to the command of `make run`.
RUN_ARGS ?=
# What each benchmark of `make bench` is told; --quick shortens the rounds.
BENCH_ARGS ?=
# How often each story of `make soak` kills the daemon, and for how many seconds it is kept busy.
SOAK_KILLS ?= 1000
SOAK_S ?= 3600

# $(call need,package,why): installs a Debian package as root, else says what is missing.
define need
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "$(2): installing $(1)"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null
else
	echo "$(2): install $(1) (as root: apt-get update && apt-get install -y $(1))" >&2
	exit 1
fi
endef

.PHONY: help
help: ## Lists the commands.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: setup ## Builds the daemon and starts it with smolagents workers; RUN_ARGS is appended.
	@cargo build --release --locked
	exec $(VENV)/bin/python -m daedalus.main_job --daemon $(TARGET)/release/daedalus \
		--config config/smolagents.toml $(RUN_ARGS)

.PHONY: test
test: check setup curl ## Runs the checks and every test.
	@cargo test --locked
	DAEDALUS_BIN=$(TARGET)/debug/daedalus $(VENV)/bin/python -m pytest python

.PHONY: check
check: linker ## Checks form, lints, documentation and licences.
	@cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	if command -v cargo-deny >/dev/null; then
		cargo deny --locked check bans licenses sources
	else
		echo "cargo-deny is not installed: licences and sources of the dependencies are not checked"
	fi

.PHONY: soak
soak: linker ## Kills the daemon 1000 times in each story of kills.rs, and keeps one busy for an hour.
	@DAEDALUS_SOAK_KILLS=$(SOAK_KILLS) \
		cargo test --locked --release --test durability -- --nocapture --skip long_history
	# Alone, because it measures.
	DAEDALUS_SOAK_HISTORY=1000000 \
		cargo test --locked --release --test durability -- --nocapture long_history
	DAEDALUS_SOAK_S=$(SOAK_S) cargo test --locked --release --test soak -- --nocapture

.PHONY: bench
bench: setup ## Runs each benchmark beside its baseline; BENCH_ARGS=--quick to see that they work.
	@cargo build --release --locked
	$(MAKE) --no-print-directory others || echo "without Dramatiq and Celery: they cannot be installed here"
	for bench in benches/*.rs; do
		[ -e "$$bench" ] || continue
		cargo bench --locked --bench "$$(basename "$$bench" .rs)" -- $(BENCH_ARGS)
	done

.PHONY: clean
clean: ## Removes what was built.
	@cargo clean
	rm -rf $(VENV) python/*.egg-info python/src/*.egg-info python/build python/dist .pytest_cache python/.pytest_cache

# Private steps.

.PHONY: setup
setup: linker $(VENV_DONE)

.PHONY: others
others: $(OTHERS)/.done
	@command -v redis-server >/dev/null && exit 0
	$(call need,redis-server,there is no Redis to compare with)

$(OTHERS)/.done: $(OTHERS_LOCK)
	@echo "making $(OTHERS)"
	rm -rf $(OTHERS)
	$(PYTHON) -m venv $(OTHERS)
	$(OTHERS)/bin/python -m pip --quiet --disable-pip-version-check --no-input install --require-hashes -r $(OTHERS_LOCK)
	touch $@

.PHONY: linker
linker:
	@command -v cc >/dev/null && exit 0
	$(call need,gcc libc6-dev,there is no C linker)

.PHONY: curl
curl:
	@command -v curl >/dev/null && exit 0
	$(call need,curl,the shell blocks of the documents cannot be tested without curl)

$(VENV_DONE): $(LOCKS) python/pyproject.toml
	@if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then
		$(call need,python3-venv,$(PYTHON) cannot make a virtual environment)
	fi
	echo "making $(VENV)"
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes $(LOCKS:%=-r %)
	$(PIP) install --no-deps --no-build-isolation -e python
	touch $@
