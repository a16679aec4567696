#!/bin/sh
# State of a Postgres in a container, for facts/postgres.py. Argument: the container's name.
# Queries run on the local socket, as the superuser; passwords appear only as hashes of what Postgres keeps.
set -u

command -v docker >/dev/null || exit 0
errors() { # error output of Docker or the client, after the answer
    output=$(cat)
    [ -z "$output" ] || printf '@@refusal\n%s\n' "$output"
}

exec 3>&1
docker exec -i "$1" sh -s 2>&1 >&3 3>&- <<'INSIDE' | errors
query() { # database; SQL on standard input
    PGDATABASE=$1 psql --username=postgres --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1
}

echo '@@cluster'
query postgres <<'SQL'
SELECT json_build_object(
    'version', current_setting('server_version'),
    -- Of Postgres' own roles, those that are members of others.
    'roles', (SELECT json_agg(json_build_object(
        'name', rolname, 'password_sha256', encode(sha256(convert_to(rolpassword, 'UTF8')), 'hex'),
        'login', rolcanlogin, 'superuser', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole,
        'replication', rolreplication, 'bypassrls', rolbypassrls, 'inherit', rolinherit,
        'connection_limit', rolconnlimit, 'valid_until', rolvaliduntil,
        'member_of', (SELECT coalesce(json_agg(DISTINCT granted.rolname), '[]') FROM pg_auth_members AS membership
            JOIN pg_authid AS granted ON granted.oid = membership.roleid WHERE membership.member = pg_authid.oid),
        'admin_of', (SELECT coalesce(json_agg(DISTINCT granted.rolname), '[]') FROM pg_auth_members AS membership
            JOIN pg_authid AS granted ON granted.oid = membership.roleid
            WHERE membership.member = pg_authid.oid AND admin_option)))
        FROM pg_authid WHERE rolname !~ '^pg_' OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_authid.oid)),
    'databases', (SELECT json_agg(json_build_object(
        'name', datname, 'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
        'allows_connections', datallowconn, 'connection_limit', datconnlimit,
        'comment', shobj_description(pg_database.oid, 'pg_database'),
        'acl', (SELECT json_agg(json_build_array(
            CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END, privilege_type))
            FROM aclexplode(coalesce(datacl, acldefault('d', datdba))))))
        FROM pg_database WHERE datname <> 'template0'),
    'available', (SELECT json_object_agg(name, default_version) FROM pg_available_extensions),
    'untrusted', (SELECT coalesce(json_agg(DISTINCT name), '[]') FROM pg_available_extension_versions
        WHERE superuser AND NOT trusted),
    -- Settings with a source, but none that can hold a secret.
    'settings', (SELECT json_object_agg(name, json_build_object(
        'value', current_setting(name), 'file', sourcefile, 'pending_restart', pending_restart))
        FROM pg_settings WHERE source <> 'default' AND name !~ '(conninfo|command|passphrase)'),
    'altered', (SELECT coalesce(json_agg(DISTINCT name), '[]') FROM pg_file_settings
        WHERE sourcefile ~ '/postgresql[.]auto[.]conf$' AND name IS NOT NULL),
    'hba_sha256', encode(sha256(pg_read_binary_file(current_setting('hba_file'))), 'hex'),
    -- The names that ALTER ROLE and ALTER DATABASE set, without values: some applications keep keys there.
    'overrides', (SELECT coalesce(json_agg(json_build_array(datname, rolname, split_part(setting, '=', 1))), '[]')
        FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS setting
        LEFT JOIN pg_database ON pg_database.oid = setdatabase LEFT JOIN pg_authid ON pg_authid.oid = setrole),
    'parameters', (SELECT coalesce(json_agg(json_build_array(
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END, privilege_type || ' ON PARAMETER ' || parname)), '[]')
        FROM pg_parameter_acl, aclexplode(paracl) WHERE grantee <> 10),
    'tablespaces', (SELECT coalesce(json_agg(spcname), '[]') FROM pg_tablespace WHERE spcname !~ '^pg_'),
    'subscriptions', (SELECT coalesce(json_agg(subname || ' in ' || datname), '[]')
        FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid),
    'slots', (SELECT coalesce(json_agg(slot_name), '[]') FROM pg_replication_slots));
SQL

# The owner of a database may set another search_path for it, with functions under the names of those below, another role
# or a short timeout. The superuser's sessions ignore all of that.
PGOPTIONS='-c search_path=pg_catalog -c role=none -c statement_timeout=60s -c default_transaction_read_only=on'
export PGOPTIONS
query postgres <<'SQL' | while IFS= read -r database; do
SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0' AND datname !~ E'\n' ORDER BY datname;
SQL
    echo '@@database'
    query "$database" <<'SQL'
-- Without objects of the system and of extensions; 10 is the first superuser.
SELECT json_build_object('name', current_database(),
    'extensions', (SELECT coalesce(json_object_agg(extname, extversion), '{}') FROM pg_extension),
    'relations', (SELECT coalesce(json_agg(relname), '[]') FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_' AND relkind IN ('r', 'p', 'v', 'm', 'i', 'I')),
    'powers', (SELECT coalesce(json_agg(power ORDER BY power), '[]') FROM (
        SELECT 'untrusted language ' || lanname AS power FROM pg_language
            WHERE NOT lanpltrusted AND lanname NOT IN ('internal', 'c') OR lanpltrusted AND lanname IN ('internal', 'c')
        UNION ALL SELECT 'foreign server ' || srvname FROM pg_foreign_server
        UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
            WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_event_trigger'::regclass
                AND objid = pg_event_trigger.oid AND deptype = 'e')
        UNION ALL SELECT 'function ' || pg_proc.oid::regprocedure || CASE WHEN prosecdef THEN ' as ' || rolname ELSE ' in ' || lanname END
            FROM pg_proc JOIN pg_authid ON pg_authid.oid = proowner JOIN pg_language ON pg_language.oid = prolang
            WHERE pg_proc.oid >= 16384 AND (prosecdef AND rolsuper OR NOT lanpltrusted)
            AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
        UNION ALL SELECT DISTINCT grants.privilege_type || ' on ' || grants.object || ' for '
            || CASE grants.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grants.grantee) END
            FROM (
                SELECT pg_proc.oid::regprocedure::text AS object, now_.grantee, now_.privilege_type
                    FROM pg_proc LEFT JOIN pg_init_privs AS first ON first.objoid = pg_proc.oid
                        AND first.classoid = 'pg_proc'::regclass AND first.objsubid = 0,
                    aclexplode(coalesce(proacl, acldefault('f', proowner))) AS now_
                    WHERE pronamespace = 'pg_catalog'::regnamespace AND pg_proc.oid < 16384 AND proacl IS DISTINCT FROM initprivs AND NOT EXISTS (
                        SELECT FROM aclexplode(coalesce(initprivs, acldefault('f', proowner))) AS was
                        WHERE (was.grantee, was.privilege_type) = (now_.grantee, now_.privilege_type))
                UNION ALL
                SELECT pg_class.oid::regclass::text, now_.grantee, now_.privilege_type
                    FROM pg_class LEFT JOIN pg_init_privs AS first ON first.objoid = pg_class.oid
                        AND first.classoid = 'pg_class'::regclass AND first.objsubid = 0,
                    aclexplode(coalesce(relacl, acldefault('r', relowner))) AS now_
                    WHERE relnamespace = 'pg_catalog'::regnamespace AND relacl IS DISTINCT FROM initprivs AND NOT EXISTS (
                        SELECT FROM aclexplode(coalesce(initprivs, acldefault('r', relowner))) AS was
                        WHERE (was.grantee, was.privilege_type) = (now_.grantee, now_.privilege_type))
            ) AS grants) AS powers),
    -- Owners of objects, without the owner of the database and objects of extensions.
    'owners', (SELECT coalesce(json_agg(DISTINCT owner), '[]') FROM (
        SELECT pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE oid >= 16384
            AND nspname !~ '^pg_(toast_)?temp_'
            AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = pg_namespace.oid AND deptype = 'e')
        UNION ALL SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
        UNION ALL SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE oid >= 16384
            AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
        ) AS owned WHERE owner <> (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database())));
SQL
done
INSIDE
exit 0
