#!/bin/sh
# Every container for facts/orphans.py, with the names of variables that look like a mistake: those that Coolify makes of
# `${NAME:?message}`, and those whose value still has a placeholder.
set -u
exec 2>/dev/null
command -v docker >/dev/null || exit 0
docker ps --all --quiet --no-trunc | xargs -r docker inspect --type container --format '{"name":{{json .Name}},
"status":{{json .State.Status}},"project":{{json (index .Config.Labels "com.docker.compose.project")}},
"folder":{{json (index .Config.Labels "com.docker.compose.project.working_dir")}},
"managed":{{json (index .Config.Labels "coolify.managed")}},"env":{{json .Config.Env}}}' |
    tr -d '\n' | sed 's/}{"name"/}\n{"name"/g' |
    jq --compact-output '.stray = [.env[]? | capture("^(?<name>[^=]*)=(?<value>.*)$"; "s")
        | select((.name | test("^[A-Za-z_][A-Za-z0-9_.-]*$") | not) or (.value | test("\\$\\{[A-Za-z_][A-Za-z0-9_]*(:?[?+-]|\\})"))) | .name]
        | del(.env)'
exit 0
