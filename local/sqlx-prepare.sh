#!/usr/bin/env bash
# Writes the offline cache of the checked SQL statements (.sqlx), from a fresh database with today's migrations.
# With --check it writes nothing and fails if the cache is out of date.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${STREAMCOMMERCE_SQLX_INNER:-}" ]; then
    export STREAMCOMMERCE_SQLX_INNER=1
    exec target/debug/local with-postgres -- "$0" "$@"
fi
# The program itself is built offline; only the check of the statements needs the schema.
target/debug/streamcommerce --database-url "$DATABASE_URL" db migrate >/dev/null
out=$(mktemp -d) before=$(mktemp)
trap 'rm -rf "$out" "$before"' EXIT
# cargo does not see that the schema changed: the statements' crate must be checked anew. A target folder of its own
# would compile every dependency again.
touch -r orchestrator/src/lib.rs "$before"
touch orchestrator/src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$out" SQLX_TMP="$PWD/target" cargo check --quiet -p orchestrator
# And what was built of it before is not built again.
touch -r "$before" orchestrator/src/lib.rs
if [ "${1:-}" = --check ]; then
    diff -rq "$out" .sqlx || { echo "error: .sqlx is out of date: run make sqlx" >&2; exit 1; }
else
    rm -rf .sqlx && mkdir .sqlx && cp "$out"/* .sqlx/
    echo "$(ls .sqlx | wc -l) statements"
fi
