#!/usr/bin/env bash
# How long does `streamcommerce dags list` take, beside `psql -c 'select 1'`? Both against the same local database, one after
# the other, ROUNDS times; prints the medians in milliseconds and their ratio (bar 5). Needs psql.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${STREAMCOMMERCE_CLI_INNER:-}" ]; then
    export STREAMCOMMERCE_CLI_INNER=1
    cargo build --quiet --bin local
    cargo build --quiet --release --bin streamcommerce
    exec target/debug/local with-postgres -- "$0" "$@"
fi
ROUNDS=${ROUNDS:-100}
PATH=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -1):$PATH
program=target/release/streamcommerce
export STREAMCOMMERCE_DATABASE_URL=$DATABASE_URL
"$program" db migrate > /dev/null
# A scheduler writes down which DAGs there are.
"$program" scheduler --examples > /dev/null 2>&1 &
scheduler=$!
until "$program" dags list 2> /dev/null | grep -q example_etl; do sleep 0.1; done
kill "$scheduler"
wait "$scheduler" || true
micros() {
    local began=$EPOCHREALTIME
    "$@" > /dev/null
    local ended=$EPOCHREALTIME
    echo $(( ${ended/./} - ${began/./} ))
}
times=$(mktemp -d)
trap 'rm -rf "$times"' EXIT
for _ in $(seq "$ROUNDS"); do
    micros psql -q "$DATABASE_URL" -c 'select 1' >> "$times/psql"
    micros "$program" dags list >> "$times/list"
done
median() { sort -n "$1" | sed -n "$(( (ROUNDS + 1) / 2 ))p"; }
awk -v psql="$(median "$times/psql")" -v list="$(median "$times/list")" \
    'BEGIN { printf "{\"psql_ms\": %.2f, \"dags_list_ms\": %.2f, \"ratio\": %.2f}\n", psql / 1000, list / 1000, list / psql }'
