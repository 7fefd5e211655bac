#!/usr/bin/env bash
# How long does an upgrade keep others waiting? Fills the schema of migration FROM with a million task instances, then
# applies the later migrations while two clients update rows of the hot tables, and says how long the longest of their
# transactions took. Needs psql and pgbench.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${STREAMCOMMERCE_UPGRADE_INNER:-}" ]; then
    export STREAMCOMMERCE_UPGRADE_INNER=1
    cargo build --quiet --bin local
    exec target/debug/local with-postgres -- "$0" "$@"
fi
FROM=${FROM:-15}
ROWS=${ROWS:-1000000}
PATH=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -1):$PATH
url=${DATABASE_URL%/*}/upgrade
psql -q "$DATABASE_URL" -c 'create database upgrade'
apply() { psql -q -v ON_ERROR_STOP=1 "$url" -f "$1" 2> >(grep -v NOTICE >&2); }
number() { basename "$1" | sed 's/_.*//; s/^0*//'; }
for file in migrations/*.sql; do
    if [ "$(number "$file")" -le "$FROM" ]; then apply "$file"; fi
done
psql -q -v ON_ERROR_STOP=1 "$url" <<SQL
insert into dag_version (dag_id, number, graph_hash, graph) values ('d', 1, 'h', '{}');
insert into dag (dag_id, current_version_id) values ('d', 1);
insert into dag_run (dag_id, run_id, version_id, run_type, state, run_after, triggered_by, queued_at, start_date,
                     end_date, run_day, unfinished)
select 'd', 'r' || i, 1, 'manual', 'success', now(), 'test', now(), now(), now(), current_date, 0
from generate_series(1, $ROWS / 100) i;
insert into run_node (run_key, node, upstream) select run_key, n, 0 from dag_run, generate_series(0, 99) n;
insert into task_instance (run_key, node, dag_id, task_id, state, try_number, max_tries, start_date, end_date)
select run_key, n, 'd', 't' || n, 'success', 1, 0, now(), now() from dag_run, generate_series(0, 99) n;
vacuum analyze;
SQL
clients=$(mktemp -d)
trap 'rm -rf "$clients"' EXIT
cat > "$clients/hot.sql" <<SQL
\\set run random(1, $ROWS / 100)
begin;
update dag_run set note = 'x' where run_key = :run;
update run_node set upstream = 0 where run_key = :run and node = 5;
update task_instance set priority = 1 where run_key = :run and node = 5;
commit;
SQL
pgbench -n -c 2 -j 2 -T 3600 -l --log-prefix "$clients/log" -f "$clients/hot.sql" "$url" >/dev/null 2>&1 &
load=$!
sleep 2
for file in migrations/*.sql; do
    if [ "$(number "$file")" -gt "$FROM" ]; then
        start=$(date +%s%N)
        apply "$file"
        echo "$(basename "$file"): $((($(date +%s%N) - start) / 1000000)) ms"
    fi
done
sleep 1
kill "$load" && wait "$load" 2>/dev/null || true
# The third column of pgbench's log is the time of a transaction in microseconds.
sort -k3 -n "$clients"/log* | awk -v rows="$ROWS" '
    { last = $3 } END { printf "{\"rows\": %d, \"transactions\": %d, \"longest_ms\": %.1f}\n", rows, NR, last / 1000 }'
