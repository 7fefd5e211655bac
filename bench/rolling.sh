#!/usr/bin/env bash
# A rolling upgrade under load: does everything end once, and do the workers of before finish what they have begun? Builds the
# program of the commit FROM (by default the one before the newest migration came), starts a scheduler and two workers of it,
# makes runs without end, migrates the database with today's program, and replaces the processes one by one. Then it reads the
# books. The first build takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${STREAMCOMMERCE_ROLLING_INNER:-}" ]; then
    export STREAMCOMMERCE_ROLLING_INNER=1
    cargo build --quiet --bin local --bin streamcommerce
    exec target/debug/local with-postgres -- "$0" "$@"
fi
newest=$(find migrations -name '*.sql' | sort | tail -1)
FROM=${FROM:-$(git rev-parse "$(git log -1 --diff-filter=A --format=%H -- "$newest")^")}
rm -rf target/rolling/source && mkdir -p target/rolling/source
git archive "$FROM" | tar -x -m -C target/rolling/source
(cd target/rolling/source && SQLX_OFFLINE=true CARGO_TARGET_DIR="$PWD/../build" cargo build --quiet --bin streamcommerce)

PATH=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -1):$PATH
psql -q "$DATABASE_URL" -c 'create database rolling'
export STREAMCOMMERCE_DATABASE_URL=${DATABASE_URL%/*}/rolling
ask() { psql -qtA -v ON_ERROR_STOP=1 "$STREAMCOMMERCE_DATABASE_URL" -c "$1"; }
before=target/rolling/build/debug/streamcommerce
after=target/debug/streamcommerce
client=$before
logs=target/rolling/logs
rm -rf "$logs" && mkdir -p "$logs"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
# start PROGRAM NAME ARGUMENTS: its number is in $started.
start() {
    local program=$1 name=$2
    shift 2
    "$program" "$@" --examples >"$logs/$name.log" 2>&1 &
    started=$!
}
stop() { kill -TERM "$1" && wait "$1"; }
load() { # SECONDS
    local end=$(($(date +%s) + $1))
    while [ "$(date +%s)" -lt "$end" ]; do
        made=$((made + 1))
        "$client" dags trigger example_etl --run-id "load-$made" >/dev/null
    done
}

made=0
"$before" db migrate >"$logs/migrate-before.log"
start "$before" scheduler-before scheduler; old_scheduler=$started
start "$before" worker-before-1 worker --drain-secs 300; old_one=$started
start "$before" worker-before-2 worker --drain-secs 300; old_two=$started
until [ "$(ask "select count(*) from dag where dag_id in ('example_etl', 'example_slow')")" = 2 ]; do sleep 0.1; done
for dag in example_etl example_slow; do "$before" dags unpause "$dag" >/dev/null; done
"$before" dags trigger example_slow --run-id nap >/dev/null
until [ "$(ask "select count(*) from task_instance where task_id = 'nap' and state = 'running'")" = 1 ]; do sleep 0.1; done
load 5
"$after" db migrate >"$logs/migrate-after.log" &
migrating=$!
load 5
wait "$migrating"
client=$after
start "$after" scheduler-after scheduler
stop "$old_scheduler"
load 3
start "$after" worker-after-1 worker
kill -TERM "$old_one"
load 3
start "$after" worker-after-2 worker
kill -TERM "$old_two"
load 3
wait "$old_one"
wait "$old_two"
for _ in $(seq 600); do
    [ "$(ask "select count(*) from dag_run where state in ('queued', 'running')")" = 0 ] && break
    sleep 0.2
done
ask "
with tries as (
    select t.instance_key, t.task_id, count(*) as tries, bool_and(y.state = 'success') as well
    from task_instance t join task_try y using (instance_key) group by 1, 2
)
select json_build_object(
    'from', '${FROM:0:7}',
    'migrations', (select count(*) from _sqlx_migrations) - $(find target/rolling/source/migrations -name '*.sql' | wc -l),
    'runs', (select count(*) from dag_run), 'not_ended_well', (select count(*) from dag_run where state <> 'success'),
    'tasks', (select count(*) from task_instance), 'tried_once', (select count(*) from tries where tries = 1 and well),
    'by_workers', (select count(distinct worker_id) from task_try),
    'nap_began_before_and_was_not_tried_again', (select tries = 1 and well from tries where task_id = 'nap'))" | tee "$logs/result.json"
# Nothing is missing, nothing was tried twice, and both programs were there.
expect() { [ "$(ask "select ($1)::text")" = true ] || { echo "not so: $1" >&2; exit 1; }; }
expect "select count(*) = $made + 1 from dag_run"
expect "select bool_and(state = 'success') from dag_run"
expect "select bool_and((select count(*) from task_try y where y.instance_key = t.instance_key) = 1) from task_instance t"
expect "select count(distinct worker_id) >= 3 from task_try"
expect "select count(*) > $(find target/rolling/source/migrations -name '*.sql' | wc -l) from _sqlx_migrations"
