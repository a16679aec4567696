#!/bin/bash
# Start as Docker's image of Postgres does: a cluster in PGDATA on the first start, with POSTGRES_USER as superuser,
# POSTGRES_DB, and what /docker-entrypoint-initdb.d brings; scripts may source this file and use `docker_process_sql`.
set -eo pipefail

# The variable, or the content of the file that VARIABLE_FILE names.
file_env() {
    local name=$1 file=${1}_FILE
    if [[ -n ${!name:-} && -n ${!file:-} ]]; then
        echo "error: both $name and $file are set (but are exclusive)" >&2
        exit 1
    fi
    if [[ -n ${!file:-} ]]; then
        export "$name=$(<"${!file}")"
    else
        export "$name=${!name:-$2}"
    fi
    unset "$file"
}

in_database() {
    local database=$1
    shift
    PGHOST='' PGHOSTADDR='' psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc \
        --dbname "$database" "$@"
}

docker_process_sql() {
    in_database "$POSTGRES_DB" "$@"
}

docker_process_init_files() {
    local file
    for file; do
        case $file in
        *.sh)
            if [[ -x $file ]]; then
                echo "$0: running $file"
                "$file"
            else
                echo "$0: sourcing $file"
                # shellcheck disable=SC1090 # the owner's
                . "$file"
            fi
            ;;
        *.sql) echo "$0: running $file" && docker_process_sql --file "$file" ;;
        *.sql.gz) echo "$0: running $file" && gunzip --stdout "$file" | docker_process_sql ;;
        *.sql.xz) echo "$0: running $file" && xzcat "$file" | docker_process_sql ;;
        *.sql.zst) echo "$0: running $file" && zstd --decompress --stdout "$file" | docker_process_sql ;;
        *) echo "$0: ignoring $file" ;;
        esac
    done
}

initialise() {
    local method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    if [[ -z $POSTGRES_PASSWORD && $method != trust ]]; then
        cat >&2 <<'MESSAGE'
Error: Database is uninitialized and superuser password is not specified.
       You must specify POSTGRES_PASSWORD to a non-empty value for the
       superuser. For example, "-e POSTGRES_PASSWORD=password" on "docker run".
MESSAGE
        exit 1
    fi
    # The password is no argument, and no file of the volume. Arguments are words, as the official image splits them.
    eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD")' "$POSTGRES_INITDB_ARGS"
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
    PGUSER=$POSTGRES_USER pg_ctl --pgdata "$PGDATA" --options "-c listen_addresses='' -p 5432" --wait start
    export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
    local database
    for database in template1 postgres; do
        in_database "$database" --quiet --file /usr/local/bin/as-alpine.sql
    done
    if [[ -z $(in_database postgres --tuples-only --set db="$POSTGRES_DB" \
        <<<"SELECT 1 FROM pg_database WHERE datname = :'db';") ]]; then
        in_database postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    docker_process_init_files /docker-entrypoint-initdb.d/*
    in_database postgres --quiet --file /usr/local/bin/as-alpine.sql
    PGUSER=$POSTGRES_USER pg_ctl --pgdata "$PGDATA" --mode fast --wait stop
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

main() {
    [[ ${1:-} != -* ]] || set -- postgres "$@"
    if [[ $1 == postgres ]]; then
        if (($(id -u) == 0)); then
            mkdir -p "$PGDATA"
            chmod 0700 "$PGDATA"
            find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres '{}' +
            exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
        fi
        shopt -s nullglob
        file_env POSTGRES_PASSWORD ''
        file_env POSTGRES_USER postgres
        file_env POSTGRES_DB "$POSTGRES_USER"
        file_env POSTGRES_INITDB_ARGS ''
        : "${POSTGRES_HOST_AUTH_METHOD:=}"
        if [[ -s $PGDATA/PG_VERSION ]]; then
            printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
        else
            initialise
        fi
    fi
    exec "$@"
}

# Sourced by a script of the owner's: functions only.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
