#!/bin/bash
# The database of the first start, and template_postgis, get PostGIS' extensions.
set -e

sql() {
    psql --username "$POSTGRES_USER" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "$1"
}

sql postgres <<<'CREATE DATABASE template_postgis IS_TEMPLATE true;'
for database in template_postgis "$POSTGRES_DB"; do
    sql "$database" <<'SQL'
CREATE EXTENSION IF NOT EXISTS postgis;
CREATE EXTENSION IF NOT EXISTS postgis_topology;
CREATE EXTENSION IF NOT EXISTS fuzzystrmatch;
CREATE EXTENSION IF NOT EXISTS postgis_tiger_geocoder;
SQL
done
