#!/bin/sh
# State of the engine for facts/docker.py. Arguments: the daemon's configuration file, and the parts to report
# (versions, daemon, networks, rules, logins), because each of the programs takes its time.
set -u
PATH=$PATH:/usr/sbin:/sbin
exec 2>/dev/null
config=$1
shift
parts=" $* "

requested() {
    case $parts in *" $1 "*) ;; *) false ;; esac
}

if requested daemon; then
    echo "@@config"
    # The file may lack the newline at its end, and the next title needs a line of its own.
    stat -L -c '%.Y' "$config" && cat "$config" && echo
fi

command -v docker >/dev/null || exit 0
echo "@@installed"

if requested versions; then
    echo "@@compose"
    docker compose version --short
fi

if requested versions || requested daemon; then
    echo "@@started"
    LC_ALL=C systemctl show -P ExecMainStartTimestamp --timestamp=us+utc docker.service
    # Without an answer of the daemon the template fails half way, and what is printed is not JSON.
    echo "@@server"
    docker info --format '{"version":{{json .ServerVersion}},"driver":{{json .Driver}},"root":{{json .DockerRootDir}},
"live_restore":{{json .LiveRestoreEnabled}},"running":{{json .ContainersRunning}},"containers":{{json .Containers}}}' | tr -d '\n'
    echo
fi

if requested networks; then
    echo "@@networks"
    docker network ls --quiet | xargs -r docker network inspect --format '{"name":{{json .Name}},"id":{{json .Id}},
"driver":{{json .Driver}},"internal":{{json .Internal}},"options":{{json .Options}},"addresses":{{json .IPAM.Config}}}' |
        tr -d '\n' | sed 's/}{"name"/}\n{"name"/g'
    echo
fi

# The engine's own rules, and the published ports of containers that run both before and after these are read.
if requested rules; then
    published=$(docker ps --no-trunc --format '{{.ID}} {{.Names}} {{.Ports}}')
    echo "@@rules"
    iptables-save
    echo "@@published"
    docker ps --no-trunc --format '{{.ID}} {{.Names}} {{.Ports}}' | while read -r line; do
        case "
$published
" in *"
$line
"*) echo "${line#* }" ;; esac
    done
fi

# Docker keeps the user's name and password of a login in base64. Its hash is enough to see whether
# it is the declared one. (The file has docker's own format: each login rewrites it.)
if requested logins; then
    echo "@@logins"
    awk -F '"' '
        /^\t\t"[^"]*": \{/ { registry = $2 }
        /^\t\t\t"auth": "/ { print registry, $4 }
    ' "${DOCKER_CONFIG:-$HOME/.docker}/config.json" |
        while read -r registry auth; do
            echo "$registry $(printf %s "$auth" | sha256sum | cut -d ' ' -f 1)"
        done
fi
exit 0
