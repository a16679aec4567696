#!/bin/sh
# What facts/postgres.py asks of a Postgres in a container. Argument: the container's name.
# Everything is asked on the local socket, as the superuser; of passwords only the hash of what Postgres keeps.
set -u

command -v docker >/dev/null || exit 0
docker exec -i "$1" sh -s 2>/dev/null <<'INSIDE'
ask() { # a database; the question is on standard input
    PGDATABASE=$1 psql --username=postgres --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1
}

echo '@@cluster'
ask postgres <<'SQL'
SELECT json_build_object(
    'version', current_setting('server_version'),
    'roles', (SELECT json_agg(json_build_object(
        'name', rolname, 'password_sha256', encode(sha256(convert_to(rolpassword, 'UTF8')), 'hex'),
        'login', rolcanlogin, 'superuser', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole,
        'replication', rolreplication, 'bypassrls', rolbypassrls, 'inherit', rolinherit,
        'connection_limit', rolconnlimit, 'valid_until', rolvaliduntil,
        'member_of', (SELECT coalesce(json_agg(granted.rolname), '[]') FROM pg_auth_members AS membership
            JOIN pg_authid AS granted ON granted.oid = membership.roleid WHERE membership.member = pg_authid.oid)))
        FROM pg_authid WHERE rolname !~ '^pg_'),
    'databases', (SELECT json_agg(json_build_object(
        'name', datname, 'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
        'allows_connections', datallowconn, 'connection_limit', datconnlimit,
        'comment', shobj_description(pg_database.oid, 'pg_database'),
        'acl', (SELECT json_agg(json_build_array(
            CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END, privilege_type))
            FROM aclexplode(coalesce(datacl, acldefault('d', datdba))))))
        FROM pg_database WHERE datname <> 'template0'),
    'available', (SELECT json_object_agg(name, default_version) FROM pg_available_extensions),
    -- Those that were set by somebody; of secrets that a setting may hold, none.
    'settings', (SELECT json_object_agg(name, json_build_object(
        'value', current_setting(name), 'file', sourcefile, 'pending_restart', pending_restart))
        FROM pg_settings WHERE source <> 'default' AND name !~ '(conninfo|command|passphrase)'));
SQL

ask postgres <<'SQL' | while IFS= read -r database; do
SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0' AND datname !~ E'\n' ORDER BY datname;
SQL
    echo '@@database'
    ask "$database" <<'SQL'
SELECT json_build_object('name', current_database(),
    'extensions', (SELECT coalesce(json_object_agg(extname, extversion), '{}') FROM pg_extension),
    'relations', (SELECT coalesce(json_agg(relname), '[]') FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_' AND relkind IN ('r', 'p', 'v', 'm', 'i', 'I')));
SQL
done
INSIDE
exit 0
