#!/usr/bin/env bash
# Do the fault harnesses find what they are there to find? Builds them from copies of the sources, each with one guard
# taken out, and plays up to 50 rounds: every copy must go red. The first build takes some minutes.
# `bench/guards.sh stream-faults` is about the streaming worker alone, `bench/guards.sh faults` about the engine.
set -euo pipefail
cd "$(dirname "$0")/.."
ROUNDS=${ROUNDS:-50}
SEED=${SEED:-1}
ONLY=${1:-}
undetected=0

cargo build --quiet --bin local --bin streamcommerce

# A copy of the sources as they are committed now, whatever is committed while it runs.
copy=target/guards/source
commit=$(git rev-parse HEAD)
rm -rf "$copy" && mkdir -p "$copy"
git archive "$commit" | tar -x -m -C "$copy"

# Every guard is in place again. What is written anew is built anew: cargo looks at the times of files.
changed=()
fresh() {
    for file in "${changed[@]}"; do git show "$commit:$file" >"$copy/$file"; done
    changed=()
}

# replace FILE TEXT INSTEAD: TEXT must stand there exactly once, or the guard is not what it was.
replace() {
    local found
    found=$(grep -cF -- "$2" "$copy/$1" || true)
    if [ "$found" != 1 ]; then
        echo "\"$2\" stands $found times in $1: tell bench/guards.sh what the guard is now" >&2
        exit 1
    fi
    changed+=("$1")
    TEXT=$2 INSTEAD=$3 perl -0pi -e 's/\Q$ENV{TEXT}\E/$ENV{INSTEAD}/' "$copy/$1"
}

# play HARNESS NAME
play() {
    if [ -n "$ONLY" ] && [ "$ONLY" != "$1" ]; then return; fi
    # The statement is another one, so the offline cache does not have it.
    target/debug/local with-postgres -- bash -c '
        set -euo pipefail
        target/debug/streamcommerce --database-url "$DATABASE_URL" db migrate > /dev/null
        cd "$1" && SQLX_OFFLINE=false CARGO_TARGET_DIR="$2" cargo build --quiet --release -p bench -p streaming
    ' _ "$copy" "$PWD/target/guards/build"
    if out=$(cd target/guards && build/release/bench "$1" --rounds "$ROUNDS" --seed "$SEED" 2>&1); then
        echo "$2: still green after $ROUNDS rounds"
        undetected=1
    else
        echo "$2: red: $(grep -A3 '^Error' <<<"$out" | tr -s ' \n' ' ' | cut -c1-240)"
    fi
}

# An outcome counts only if its attempt is the one that the row holds; the key of the books is the second fence.
fresh
replace orchestrator/src/store/outcomes.rs 't.instance_key = o.instance_key and t.attempt = o.attempt' 't.instance_key = o.instance_key'
replace orchestrator/src/store/outcomes.rs "from ended where state not in ('up_for_reschedule', 'deferred')" "from ended where state not in ('up_for_reschedule', 'deferred') on conflict do nothing"
play faults "attempt fence"

# Whoever settles holds the run.
fresh
replace orchestrator/src/store/run_locks.rs 'begin; select from dag_run where run_key = {} for no key update' 'begin; select from dag_run where run_key = {}'
play faults "run lock"

# Only what belongs to a process that is not alive is rescued.
fresh
replace orchestrator/src/store/rescue.rs "in ('running', 'restarting') and p.state is distinct from 'alive'" "in ('running', 'restarting')"
play faults "lease check"

# A manifest is created only if there is none.
fresh
replace bucket/src/lib.rs '.set_if_generation_match(0)' ''
play stream-faults "create-only manifest"

# Whoever takes a partition over publishes what its last manifest names.
fresh
replace streaming/src/commit_log.rs 'self.publish(&last).await?;' ''
play stream-faults "publish from the manifest"

# It is read from where the commit log ends, whatever Kafka says.
fresh
replace streaming/src/assignment.rs 'Offset::Offset(head.next)' 'Offset::Stored'
play stream-faults "start offset from the log"

exit $undetected
