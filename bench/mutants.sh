#!/usr/bin/env bash
# Do the tests notice when the pure core decides otherwise? cargo-mutants changes one thing at a time in `dag`, `schedule`, `state`,
# `readiness` and `retry`, and plays their unit tests. Some 750 changes (a third of them does not compile), 3 to 4 seconds each with
# `-j2` on two cores that do nothing else; SHARD=0/4 plays a quarter of them.
# bench/README.md lists what may survive, and why. Needs `cargo install cargo-mutants --locked`.
set -euo pipefail
cd "$(dirname "$0")/.."
only=()
for files in 'dag/**' 'schedule.rs' 'state.rs' 'readiness.rs' 'retry.rs'; do only+=(-f "orchestrator/src/$files"); done
# No decision: how things look to whoever debugs.
# Tests of other modules want a database.
SQLX_OFFLINE=true CARGO_PROFILE_DEV_DEBUG=0 cargo mutants -p orchestrator "${only[@]}" --exclude-re 'impl (std::)?fmt::Debug' \
    --timeout 60 -C --lib ${SHARD:+--shard "$SHARD"} -o target "$@" -- -- dag:: schedule:: state:: readiness:: retry::
