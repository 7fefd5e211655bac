#!/usr/bin/env bash
# Does the fault harness find what it is there to find? Builds it from copies of the sources, each with one guard of the
# engine taken out, and plays up to 50 rounds: every copy must go red. Takes a quarter of an hour per guard, most of it the
# build of the first one.
set -euo pipefail
cd "$(dirname "$0")/.."
ROUNDS=${ROUNDS:-50}
SEED=${SEED:-1}

# name | file | text (once in the file, or as often as the last column says) | what stands there instead | times
GUARDS=(
    "attempt fence|orchestrator/src/store/instances.rs|where t.instance_key = o.instance_key and t.attempt = o.attempt and|where t.instance_key = o.instance_key and|1"
    "run lock|orchestrator/src/store/runs.rs|begin; select from dag_run where run_key = {} for no key update|begin; select from dag_run where run_key = {}|1"
    "lease check|orchestrator/src/store/rescue.rs|in ('running', 'restarting') and p.state is distinct from 'alive'|in ('running', 'restarting')|1"
)

cargo build --quiet --bin local --bin streamcommerce
for guard in "${GUARDS[@]}"; do
    IFS='|' read -r name file text instead times <<<"$guard"
    copy=target/guards/source
    rm -rf "$copy" && mkdir -p "$copy"
    git ls-files -z | xargs -0 cp --parents -t "$copy"
    found=$(grep -cF -- "$text" "$copy/$file" || true)
    if [ "$found" != "$times" ]; then
        echo "$name: its text stands $found times in $file, not $times: tell bench/guards.sh what it is now" >&2
        exit 1
    fi
    TEXT=$text INSTEAD=$instead perl -0pi -e 's/\Q$ENV{TEXT}\E/$ENV{INSTEAD}/' "$copy/$file"
    # The statement is another one, so the offline cache does not have it.
    target/debug/local with-postgres -- bash -c '
        set -euo pipefail
        target/debug/streamcommerce --database-url "$DATABASE_URL" db migrate
        cd "$1" && SQLX_OFFLINE=false CARGO_TARGET_DIR="$2" cargo build --quiet --release -p bench
    ' _ "$copy" "$PWD/target/guards/build"
    if out=$(cd target/guards && build/release/bench faults --rounds "$ROUNDS" --seed "$SEED" 2>&1); then
        echo "$name: still green after $ROUNDS rounds"
    else
        echo "$name: red: $(grep -m1 -A4 '^Error' <<<"$out" | tr '\n' ' ' | cut -c1-300)"
    fi
done
