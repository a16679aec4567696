#!/bin/sh
# Organisations, projects, keys and members in the database of a Langfuse, as JSON, or a line with the reason why there is
# no answer. Nothing if its container does not run, or is somebody else's, because a run sets that aside first. Secret
# keys appear only as the hashes that Langfuse keeps.
# Arguments: container of Langfuse, and of its Postgres.
set -u

shown='{{and (index .Config.Labels "stack.digest") .State.Running}}{{range .Config.Env}}{{println}}{{.}}{{end}}'
container=$(docker inspect --type container --format "$shown" "$1" 2>/dev/null)
# libpq does not know Prisma's own parameters.
url=$(printf '%s\n' "$container" | sed -n 's/^DATABASE_URL=\([^?]*\).*/\1/p')
# With Langfuse's own login: code that its role may have put into its database never runs as the superuser. psql reads the
# address from standard input, so that no argument list has the password.
query() {
    { printf "%s '%s'\n" '\connect' "$url"; cat; } <<'SQL' |
SELECT json_build_object(
    'organisations', (SELECT coalesce(json_agg(id), '[]') FROM organizations),
    'projects', (SELECT coalesce(json_agg(json_build_object(
        'id', id, 'name', name, 'organisation', org_id, 'deleted', deleted_at IS NOT NULL) ORDER BY id), '[]') FROM projects),
    'keys', (SELECT coalesce(json_agg(json_build_object(
        'id', id, 'public_key', public_key, 'hash', fast_hashed_secret_key, 'note', note, 'project', project_id,
        'organisation', organization_id) ORDER BY created_at, id), '[]') FROM api_keys),
    'members', (SELECT coalesce(json_agg(json_build_object(
        'email', email, 'role', role, 'organisation', org_id, 'project', project_id) ORDER BY email, project_id), '[]')
        FROM (SELECT user_id, role::text, org_id, NULL AS project_id FROM organization_memberships UNION ALL
            SELECT project.user_id, project.role::text, member.org_id, project.project_id FROM project_memberships AS project
            JOIN organization_memberships AS member ON member.id = project.org_membership_id) AS membership
        JOIN users ON users.id = membership.user_id),
    'administrators', (SELECT coalesce(json_agg(coalesce(email, id) ORDER BY email), '[]') FROM users WHERE admin));
SQL
        docker exec -i "$1" psql --username=postgres --dbname=postgres --no-password --no-psqlrc --quiet \
            --tuples-only --no-align --set ON_ERROR_STOP=1 --set VERBOSITY=terse --file=- 2>&1
}

if [ "$(printf '%s\n' "$container" | head -n 1)" = true ] && [ -n "$url" ]; then
    for wait in 1 1 0; do
        answer=$(query "$2") && break
        sleep "$wait"
    done
    printf '%s\n' "$answer"
fi
exit 0
