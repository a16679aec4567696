#!/bin/sh
# Containers to adopt, for facts/adoption.py. Arguments: the folder of the migrations, names of containers that may be
# somebody else's, and names of the volumes that theirs are copied into. Reports where each existing container has its
# data, and the system in its image; no environment.
# shellcheck disable=SC2086 # names have no blanks
set -u
exec 2>/dev/null
state=$1 names=$2 volumes=$3

echo '@@volumes'
ls -1 "$state/volumes"
echo '@@copied'
for record in "$state"/*/.complete; do
    [ ! -e "$record" ] || basename "${record%/*}"
done
command -v docker >/dev/null || exit 0
echo '@@containers'
docker inspect --type container --format '{"name":{{json .Name}},"status":{{json .State.Status}},
"project":{{json (index .Config.Labels "com.docker.compose.project")}},
"service":{{json (index .Config.Labels "com.docker.compose.service")}},
"managed":{{json (index .Config.Labels "coolify.managed")}},"digest":{{json (index .Config.Labels "stack.digest")}},
"image":{{json .Config.Image}},
"restart":{{json .HostConfig.RestartPolicy.Name}},"mounts":{{json .Mounts}}}' -- $names | tr -d '\n' | sed 's/}{"name"/}\n{"name"/g'
echo
echo '@@systems'
docker inspect --type container --format '{{.Name}} {{index .Config.Labels "stack.digest"}}' -- $names |
    while read -r name ours; do
        # A container with our label has the declared image. Read from outside, because the container need not run.
        [ -z "$ours" ] || continue
        id=$(docker cp --follow-link "${name#/}:/etc/os-release" - | tar --extract --to-stdout --file - | sed -n 's/^ID=//p' | tr -d '"')
        echo "${name#/} $id"
    done
echo '@@occupied'
docker volume inspect --format '{{.Name}} {{.Mountpoint}} {{index .Labels "migration.source"}}' -- $volumes |
    while read -r name folder source; do
        # A copy that we began is continued.
        [ -n "$source" ] || [ -z "$(find "$folder" -mindepth 1 -print -quit)" ] || echo "$name"
    done
exit 0
