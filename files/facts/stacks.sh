#!/bin/sh
# Stacks and containers of the host, for facts/stacks.py. Argument: the folder of the stacks.
# Files appear as hashes, containers without their environment: contents and values may be secret.
set -u
exec 2>/dev/null
root=$1

# A staging folder was left by an interrupted run, or a run is writing it at this moment.
echo "@@files"
find "$root" -name '.pyinfra-tree.*' -printf 'abandoned\t%p\n' -prune -o \
    -printf 'path\t%y\t%m\t%u\t%U\t%g\t%G\t%p\t%l\n'
find "$root" -name '.pyinfra-tree.*' -prune -o -type f -exec sha256sum -- {} +
echo "@@changed"
find "$root" -name '.pyinfra-tree.*' -prune -o -printf '%C@\t%p\n'

command -v docker >/dev/null || exit 0

echo "@@containers"
# Names of fields are those of Docker's Go types. With a wrong one its client falls back to the JSON, where it drops
# containers without a field, such as a health check.
# shellcheck disable=SC2016 # $name is of the template
docker ps --all --quiet --no-trunc | xargs -r docker inspect --type container --format '{"name":{{json .Name}},
"project":{{json (index .Config.Labels "com.docker.compose.project")}},
"service":{{json (index .Config.Labels "com.docker.compose.service")}},
"folder":{{json (index .Config.Labels "com.docker.compose.project.working_dir")}},
"digest":{{json (index .Config.Labels "stack.digest")}},"managed":{{json (index .Config.Labels "coolify.managed")}},
"aliases":[{{range .NetworkSettings.Networks}}{{json .Aliases}},{{end}}null],
"networks":[{{range $name, $_ := .NetworkSettings.Networks}}{{json $name}},{{end}}null],
"image_id":{{json .Image}},"status":{{json .State.Status}},
"health":{{with .State.Health}}{{json .Status}}{{else}}null{{end}},
"failing":{{with .State.Health}}{{json .FailingStreak}}{{else}}null{{end}},
"checked":[{{with .State.Health}}{{range .Log}}{{json .Start}},{{end}}{{end}}null],
"started":{{json .State.StartedAt}},"ports":{{json .HostConfig.PortBindings}},
"limits":[{{.HostConfig.Memory}},{{.HostConfig.MemorySwap}},{{.HostConfig.NanoCPUs}},
{{or .HostConfig.PidsLimit 0}},{{json .HostConfig.RestartPolicy.Name}}]}' |
    tr -d '\n' | sed 's/}{"name"/}\n{"name"/g'
echo

echo "@@networks"
docker network ls --format '{{.Name}} {{.Internal}}'

echo "@@images"
docker image ls --quiet --no-trunc | sort -u | xargs -r docker image inspect --format '{"id":{{json .Id}},
"tags":{{json .RepoTags}},"digests":{{json .RepoDigests}},
"build":{{with .Config}}{{json (index .Labels "stack.build")}}{{else}}null{{end}}}' | tr -d '\n' | sed 's/}{"id"/}\n{"id"/g'
echo
exit 0
