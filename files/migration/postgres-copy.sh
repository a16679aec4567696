#!/usr/bin/env bash
# Copies a database from the Postgres of one container into that of another, completely or not at all; sent by
# operations/postgres_copy.py.
#
#     postgres-copy.sh STATE SOURCE DATABASE TARGET OWNER REQUIRED
#
# STATE is a private folder of the host, for the dump, and for the record that is written at the very end. REQUIRED: `yes`,
# or `no` if the source may lack the database.
# Standard input: SQL that runs in the copy once it has been compared, before any other client can read it.
#
# If this is killed anywhere, the next run continues: from a dump that was read back and still matches the source, or from a
# copy that was compared. A copy that is half restored begins anew. The source keeps everything, and is read-only from
# before the dump on, because later writes would be lost. No client sees the copy until it takes its name, in one
# transaction.
set -euo pipefail
state=$1 source=$2 database=$3 target=$4 owner=$5 required=$6
after=$(cat)
folder=$state/$source dump=$state/$source/$database.dump record=$state/$source/$database
aside=${database}_migrating replaced=${database}_replaced role=migration_$database
mark=migration.source=$source/$database # a setting of the copy once it has been compared

fail() {
    echo "$source/$database: $*" >&2
    exit 1
}

# Run a program of Postgres in a container, as the superuser of its environment. The password stays in there.
# shellcheck disable=SC2016 # expanded in the container
in_container() {
    local container=$1
    shift
    docker exec --interactive -- "$container" sh -c '
        PATH=$PATH:$(echo /usr/lib/postgresql/*/bin | tr " " :)
        [ -z "${POSTGRES_PASSWORD_FILE:-}" ] || POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
        export PGUSER="${POSTGRES_USER:-postgres}" PGPASSWORD="${POSTGRES_PASSWORD:-}" PGCONNECT_TIMEOUT=30
        exec "$@"' sh "$@"
}

# Run SQL from standard input in a database of a container. It finds the names that it uses as variables.
run_sql() {
    local container=$1 at=$2
    shift 2
    in_container "$container" psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 \
        --set VERBOSITY=terse --set db="$database" --set aside="$aside" --set replaced="$replaced" \
        --set role="$role" --set owner="$owner" --set mark="$mark" "$@" --dbname "$at"
}

# Everything whose loss would be noticed, a line each, independent of the version and the C library: names of all objects,
# number and checksum of the rows of each table, value of each sequence. Objects of extensions are left out: their tables,
# indexes and types.
inventory() {
    run_sql "$1" "$2" <<'SQL'
SET search_path = pg_catalog;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET lc_monetary = 'C';
-- The view is this session's own.
SET default_transaction_read_only = off;
CREATE TEMPORARY VIEW own_relation AS
SELECT c.oid, nspname, relname, relkind, relpersistence FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e' AND (classid, objid) IN (
        ('pg_class'::regclass, coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = c.oid), c.oid)),
        ('pg_type'::regclass, reltype)));
SELECT format('extension %s', extname) FROM pg_extension ORDER BY extname COLLATE "C";
SELECT format('relation %s %I.%I', relkind, nspname, relname) FROM own_relation
ORDER BY nspname COLLATE "C", relname COLLATE "C";
SELECT format('constraint %I.%I %s %I', nspname, relname, contype, conname)
FROM pg_constraint JOIN own_relation r ON r.oid = conrelid WHERE contype <> 'n'
ORDER BY nspname COLLATE "C", relname COLLATE "C", conname COLLATE "C";
SELECT format('trigger %I.%I %I', nspname, relname, tgname)
FROM pg_trigger JOIN own_relation r ON r.oid = tgrelid WHERE NOT tgisinternal
ORDER BY nspname COLLATE "C", relname COLLATE "C", tgname COLLATE "C";
SELECT format('routine %I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(p.oid))
FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
ORDER BY nspname COLLATE "C", proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C";
-- A restore computes a materialized view anew, so only the number of its rows is compared.
SELECT format($$SELECT format('rows %%s %%s %%s', %L, count(*), %s) FROM ONLY %I.%I AS each$$, format('%I.%I', nspname, relname),
    CASE relkind WHEN 'r' THEN $$coalesce(sum(('x' || left(md5((each.*)::text), 16))::bit(64)::bigint::numeric), 0)$$ ELSE '0' END,
    nspname, relname)
FROM own_relation WHERE relkind IN ('r', 'm') AND relpersistence <> 't'
ORDER BY nspname COLLATE "C", relname COLLATE "C" \gexec
SELECT format($$SELECT format('sequence %%s %%s %%s', %L, last_value, is_called) FROM %I.%I$$, format('%I.%I', nspname, relname),
    nspname, relname)
FROM own_relation WHERE relkind = 'S' ORDER BY nspname COLLATE "C", relname COLLATE "C" \gexec
SELECT format('large objects %s %s', count(*), coalesce(sum(('x' || left(md5(lo_get(oid)), 16))::bit(64)::bigint::numeric), 0))
FROM pg_largeobject_metadata;
SQL
}

# Run SQL from standard input, with the output in `answer`. Without an answer the script ends, because no step may rely on a
# guess. (`set -e` does not apply in a function that a condition calls.)
query() {
    answer=$(run_sql "$@") || fail "found no answer of $1, expected one: docker logs --tail 20 $1"
}

# Whether a database of the target is a copy that has been compared; false if it does not exist.
marked() {
    query "$target" postgres --set name="$1" <<'SQL'
SELECT EXISTS (SELECT FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
    WHERE datname = :'name' AND setrole = 0 AND :'mark' = ANY (setconfig));
SQL
    [[ $answer == t ]]
}

# Whether the source is read-only.
frozen() {
    query "$source" template1 <<'SQL'
SELECT EXISTS (SELECT FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
    WHERE datname = :'db' AND setrole = 0 AND 'default_transaction_read_only=on' = ANY (setconfig));
SQL
    [[ $answer == t ]]
}

exists() {
    query "$target" postgres --set name="$1" <<<"SELECT EXISTS (SELECT FROM pg_database WHERE datname = :'name');"
    [[ $answer == t ]]
}

# Whether a database of the target has objects that are not of an extension; false if it does not exist.
holds_something() {
    exists "$1" || return 1
    query "$target" "$1" <<'SQL'
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e' AND (classid, objid) IN (
            ('pg_class'::regclass, coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = c.oid), c.oid)),
            ('pg_type'::regclass, reltype))))
    OR EXISTS (SELECT FROM pg_largeobject_metadata);
SQL
    [[ $answer == t ]]
}

freeze() {
    run_sql "$source" template1 <<'SQL' >/dev/null
ALTER DATABASE :"db" SET default_transaction_read_only = on;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = :'db' AND pid <> pg_backend_pid() AND backend_type = 'client backend';
SQL
    for _ in {1..50}; do
        # A session that reconnects meanwhile can only read.
        query "$source" template1 <<'SQL'
SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = :'db' AND backend_type = 'client backend' AND xact_start IS NOT NULL);
SQL
        [[ $answer == t ]] || return 0
        sleep 0.2
    done
    fail "found a transaction that does not end, expected its clients gone: stop what uses $source, and run again"
}

make_dump() {
    in_container "$source" pg_dump --format=custom --dbname="$database" </dev/null >"$dump.part"
    in_container "$source" pg_restore --file=/dev/null <"$dump.part"
    sync -- "$dump.part"
    mv -- "$dump.part" "$dump"
    echo "$source/$database: dumped and read back, $(du --human-readable -- "$dump" | cut -f1)"
}

# Schemas and extensions belong to the superuser that may create them, everything else to a temporary role, which hands it
# over at the end.
restore() {
    if exists "$aside"; then
        query "$target" postgres <<<"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = :'aside';"
        [[ $answer == "$mark" ]] || fail "found a database $aside in $target that is of no migration, expected its name to be free: rename it"
    fi
    run_sql "$target" postgres <<'SQL'
SET client_min_messages = warning;
DROP DATABASE IF EXISTS :"aside" WITH (FORCE);
DROP ROLE IF EXISTS :"role";
CREATE ROLE :"role" SUPERUSER;
CREATE DATABASE :"aside" OWNER :"role" TEMPLATE template0 ENCODING 'UTF8' CONNECTION LIMIT 0;
COMMENT ON DATABASE :"aside" IS :'mark';
REVOKE ALL ON DATABASE :"aside" FROM PUBLIC;
SQL
    local lists which='^[0-9]+; [0-9]+ [0-9]+ ((SCHEMA|EXTENSION) - |COMMENT - (SCHEMA|EXTENSION) )'
    in_container "$target" pg_restore --list <"$dump" >"$folder/$database.list"
    lists=$(in_container "$target" mktemp -d </dev/null)
    { grep -E "$which" "$folder/$database.list" || true; } | in_container "$target" tee -- "$lists/first" >/dev/null
    { grep -vE "$which" "$folder/$database.list" || true; } | in_container "$target" tee -- "$lists/rest" >/dev/null
    local restore=(pg_restore --exit-on-error --no-owner --no-privileges --dbname="$aside")
    in_container "$target" "${restore[@]}" --use-list="$lists/first" <"$dump"
    run_sql "$target" "$aside" <<'SQL'
SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, :'role') FROM pg_namespace n
WHERE nspname NOT IN ('information_schema', 'public') AND nspname NOT LIKE 'pg\_%'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = n.oid AND deptype = 'e') \gexec
SQL
    in_container "$target" "${restore[@]}" --role="$role" --use-list="$lists/rest" <"$dump"
    in_container "$target" rm -r -- "$lists" </dev/null
    run_sql "$target" "$aside" <<'SQL'
REASSIGN OWNED BY :"role" TO :"owner";
DROP ROLE :"role";
ANALYZE;
SQL
}

# Whether the copy matches the source as it is now.
same() {
    inventory "$source" "$database" >"$folder/$database.source" || fail "found no inventory of it, expected one"
    inventory "$target" "$aside" >"$folder/$database.copy" || fail "found no inventory of its copy, expected one"
    diff -- "$folder/$database.source" "$folder/$database.copy" >"$folder/$database.diff" || return 1
    rm -- "$folder/$database.diff"
}

# Make a copy, and compare it.
make_copy() {
    if [[ -e $dump ]]; then
        restore
        if same; then return 0; fi
        # A crash since the dump was made has moved the source's sequences on.
        echo "$source/$database: its dump is out of date, and is made anew"
        rm -- "$dump"
    fi
    make_dump
    restore
    if ! same; then
        head -n 20 -- "$folder/$database.diff" >&2
        fail "found the differences above between it (<) and its copy (>), expected none: nothing was switched, run again"
    fi
}

exchange() {
    local try
    for try in {1..20}; do
        # A client may reconnect between its disconnection and the exchange: then try again.
        if run_sql "$target" postgres <<'SQL' 2>"$folder/$database.exchange" >/dev/null; then return 0; fi
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (:'db', :'aside') AND pid <> pg_backend_pid();
BEGIN;
SELECT format('GRANT %s ON DATABASE %I TO %s', privilege_type, :'aside',
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
FROM pg_database, aclexplode(datacl) WHERE datname = :'db' AND grantee <> datdba \gexec
SELECT format('ALTER DATABASE %I RENAME TO %I', :'db', :'replaced') FROM pg_database WHERE datname = :'db' \gexec
ALTER DATABASE :"aside" RENAME TO :"db";
COMMENT ON DATABASE :"db" IS NULL;
ALTER DATABASE :"db" CONNECTION LIMIT -1;
COMMIT;
SQL
        sleep 0.1
    done
    fail "not exchanged after $try tries: $(tail -n 1 "$folder/$database.exchange")"
}

((${#database} <= 50)) || fail "found a name of ${#database} characters, expected at most 50: rename it"
umask 077
mkdir -p -- "$folder"
exec 9>"$state/lock"
flock --wait 900 9 || fail "found another migration at work for 15 minutes, expected none"
if [[ -e $record ]]; then
    ! marked "$database" || run_sql "$target" postgres <<<'ALTER DATABASE :"db" RESET migration.source;'
    rm -f -- "$folder/$database.copy"
    echo "$source/$database: is migrated already"
    exit 0
fi
if [[ $(docker inspect --format '{{.State.Running}}' -- "$source") != true ]]; then docker start -- "$source" >/dev/null; fi
for _ in {1..120}; do
    if in_container "$source" pg_isready --quiet </dev/null; then break; fi
    sleep 0.5
done

query "$source" template1 <<<"SELECT EXISTS (SELECT FROM pg_database WHERE datname = :'db');"
if [[ $answer != t ]]; then
    [[ $required == no ]] || fail "found no such database, expected it: declare those that exist"
    echo "$source/$database: does not exist, and is optional"
    exit 0
fi
if holds_something "$replaced"; then
    fail "found a database $replaced in $target that holds something, expected its name to be free: rename it"
fi
if ! marked "$database"; then
    if holds_something "$database"; then
        fail "found a database $database in $target that holds something else, expected none or an empty one:" \
            "it is not overwritten; save it, rename it, and run again"
    fi
    if ! frozen; then # an earlier dump or copy is out of date
        ! exists "$aside" || run_sql "$target" postgres <<<'ALTER DATABASE :"aside" RESET migration.source;'
        rm -f -- "$dump"
        freeze
    fi
    if ! marked "$aside"; then
        make_copy
        if [[ -n $after ]]; then run_sql "$target" "$aside" --single-transaction <<<"$after"; fi
        run_sql "$target" postgres <<<"ALTER DATABASE :\"aside\" SET migration.source = '$source/$database';"
    fi
    frozen || fail "found it writable again, expected it unchanged since it was dumped: run again"
    exchange
fi
if holds_something "$replaced"; then
    fail "found that $database got something in $target meanwhile, expected it empty: it is kept as $replaced, rename it"
fi
run_sql "$target" postgres <<<'SET client_min_messages = warning; DROP DATABASE IF EXISTS :"replaced" WITH (FORCE);'
{
    echo "migrated $(date --utc +%FT%TZ) into $target"
    cat -- "$folder/$database.copy"
} >"$record.part"
sync -- "$record.part"
rm -f -- "$dump" "$folder/$database".{list,source,exchange}
mv -- "$record.part" "$record"
run_sql "$target" postgres <<<'ALTER DATABASE :"db" RESET migration.source;'
rm -f -- "$folder/$database.copy"
awk -v what="$source/$database -> $target" '/^rows / { tables++; rows += $(NF - 1) } /^sequence / { sequences++ }
    END { printf "%s: %d tables with %d rows, %d sequences, as they were\n", what, tables, rows, sequences }' "$record"
