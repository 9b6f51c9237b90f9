#!/bin/sh
# Run once by the Postgres image, when it makes the database: a role that reads the ledger and can do nothing else.
# Whoever edits a panel in Grafana writes SQL; it should not be able to change what was metered.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$READER_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE reader LOGIN PASSWORD :'password' CONNECTION LIMIT 20;
ALTER ROLE reader SET default_transaction_read_only = on;
ALTER ROLE reader SET statement_timeout = '60s';
GRANT pg_read_all_data TO reader;
SQL
