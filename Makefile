# Two commands: `make up` runs everything, `make test` checks everything. The rest is for those who work on it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The statements are checked against the committed cache; only `make sqlx` asks a database.
export SQLX_OFFLINE := true

.PHONY: help up test clean sqlx screenshots

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

up: ## the whole pipeline on this machine, until Ctrl-C
	@local/check.sh up
	@echo "== building (dev profile; the first time takes some minutes)"
	@cargo build --workspace --bins
	@exec target/debug/local up

test: ## every check and every test
	@local/check.sh test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
	cargo build --workspace --all-targets --locked
	local/sqlx-prepare.sh --check
	target/debug/local with-postgres -- cargo test --workspace --locked

sqlx: ## write the offline cache of the SQL statements
	cargo build --workspace --bins
	local/sqlx-prepare.sh

screenshots: ## the pictures of the README, by the browser test
	cargo build --workspace --bins
	cargo test -p tests --test browser -- every_page_is_fit_for_everybody
	cp target/screenshots/dags-desk.png docs/dags.png
	cp target/screenshots/grid-desk.png docs/grid.png
	cp target/screenshots/task-desk.png docs/task.png

clean: ## forget all data of the local stack
	@if [ -x target/debug/local ]; then target/debug/local clean; else rm -rf .state; fi
