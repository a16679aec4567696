#!/bin/sh
# State of a copy for facts/postgres_copy.py. Arguments: the folder of the migrations, the container with the old Postgres,
# and the one that it is copied into. It starts and changes nothing, and shows no password.
set -u
exec 2>/dev/null
state=$1 source=$2 target=$3

# shellcheck disable=SC2016 # expanded in the container
query() { # container, database; SQL on standard input
    docker exec --interactive -- "$1" sh -c '
        [ -z "${POSTGRES_PASSWORD_FILE:-}" ] || POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
        PGUSER=${POSTGRES_USER:-postgres} PGPASSWORD=${POSTGRES_PASSWORD:-} PGCONNECT_TIMEOUT=10 \
            PGOPTIONS="-c search_path=pg_catalog -c role=none" exec psql \
            --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$1"' sh "$2"
}

# Objects of each database that accepts connections, without those of extensions: their tables and types. An index belongs
# to its table; a composite type counts as well.
databases() { # container
    query "$1" template1 <<'SQL' | while IFS= read -r database; do
SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname !~ E'\n' ORDER BY datname;
SQL
        query "$1" "$database" <<'SQL'
SELECT json_build_object('name', current_database(), 'encoding', pg_encoding_to_char(encoding),
    'bytes', pg_database_size(d.oid),
    'extensions', (SELECT coalesce(json_agg(extname ORDER BY extname), '[]') FROM pg_extension),
    'copied_from', (SELECT substr(setting, 18) FROM pg_db_role_setting, unnest(setconfig) AS setting
        WHERE setdatabase = d.oid AND setrole = 0 AND setting LIKE 'migration.source=%'),
    'frozen', EXISTS (SELECT FROM pg_db_role_setting
        WHERE setdatabase = d.oid AND setrole = 0 AND 'default_transaction_read_only=on' = ANY (setconfig)),
    'objects', (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e' AND (classid, objid) IN (
            ('pg_class'::regclass, coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = c.oid), c.oid)),
            ('pg_type'::regclass, reltype))))
        + (SELECT count(*) FROM pg_largeobject_metadata))
FROM pg_database d WHERE datname = current_database();
SQL
    done
}

echo '@@recorded'
for record in "$state/$source"/*; do
    case ${record##*/} in
    *.dump | *.part | *.list | *.source | *.copy | *.diff | *.exchange) ;;
    *) [ ! -f "$record" ] || echo "${record##*/}" ;;
    esac
done
[ ! -f "$state/$source/.complete" ] || echo '@@complete'
echo '@@free'
folder=$state
until [ -d "$folder" ]; do folder=$(dirname "$folder"); done
df --output=avail --block-size=1 "$folder" | tail -n 1

command -v docker >/dev/null || exit 0
echo '@@source'
docker inspect --type container --format '{{.State.Status}}' -- "$source"
if [ "$(docker inspect --type container --format '{{.State.Running}}' -- "$source")" = true ]; then
    echo '@@source databases'
    databases "$source"
fi
if [ "$(docker inspect --type container --format '{{.State.Running}}' -- "$target")" = true ]; then
    echo '@@target databases'
    databases "$target"
    echo '@@target roles'
    query "$target" postgres <<'SQL'
SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname;
SQL
    echo '@@target extensions'
    query "$target" postgres <<'SQL'
SELECT name FROM pg_available_extensions ORDER BY name;
SQL
fi
exit 0
