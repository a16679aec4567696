#!/bin/sh
# What facts/docker.py asks of the engine. Arguments: the daemon's configuration file, and the parts to answer
# (versions, daemon, networks, rules, logins): each of the programs that are asked takes its time.
set -u
PATH=$PATH:/usr/sbin:/sbin
exec 2>/dev/null
config=$1
shift
parts=" $* "

asked() {
    case $parts in *" $1 "*) ;; *) false ;; esac
}

if asked daemon; then
    echo "@@config"
    # Whoever wrote the file may have left out the newline at its end, and the next title needs a line of its own.
    stat -L -c '%.Y' "$config" && cat "$config" && echo
fi

command -v docker >/dev/null || exit 0
echo "@@installed"

if asked versions; then
    echo "@@compose"
    docker compose version --short
fi

if asked versions || asked daemon; then
    echo "@@started"
    LC_ALL=C systemctl show -P ExecMainStartTimestamp --timestamp=us+utc docker.service
    # Without an answer of the daemon the template fails half way, and what is printed is not JSON.
    echo "@@server"
    docker info --format '{"version":{{json .ServerVersion}},"driver":{{json .Driver}},"root":{{json .DockerRootDir}},
"live_restore":{{json .LiveRestoreEnabled}},"running":{{json .ContainersRunning}},"containers":{{json .Containers}}}' | tr -d '\n'
    echo
fi

if asked networks; then
    echo "@@networks"
    docker network ls --quiet | xargs -r docker network inspect --format '{"name":{{json .Name}},"id":{{json .Id}},
"driver":{{json .Driver}},"internal":{{json .Internal}},"options":{{json .Options}},"addresses":{{json .IPAM.Config}}}' |
        tr -d '\n' | sed 's/}{"name"/}\n{"name"/g'
    echo
fi

# The engine's own rules, and what containers publish that run before and after these were asked for.
if asked rules; then
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

# Of a login, docker keeps the user's name and password in base64. What is answered is its hash: enough to see whether
# it is the wanted one. (The form of the file is docker's own: it writes it anew with each login.)
if asked logins; then
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
