#!/usr/bin/env bash
# Brings containers of a Compose project up and waits until they are healthy; sent by operations/stacks.py.
#
#     up.sh FOLDER PROJECT SECONDS
#
# Standard input: names of containers, which are also those of their services, separated by blanks. A line is a level,
# which starts when all containers of the level before are healthy. With a = before its name, an existing container is
# started and not recreated.
set -euo pipefail
folder=$1 project=$2 seconds=$3
# Failed starts of a program that end the run. Docker restarts it meanwhile, because what it needs may be slow.
attempts=3
cd -- "$folder"

# Status, health, start time and restarts of a container.
inspect() {
    docker inspect --type container --format '{{.State.Status}} {{with .State.Health}}{{.Status}}{{else}}none{{end}} {{
        .State.StartedAt}} {{.RestartCount}}' -- "$1" 2>/dev/null | tr -d '\n' || true
}

# Show the last output of a container, without characters that control the terminal, and end.
fail() {
    local name=$1 found=$2
    {
        echo "--- last lines of $name:"
        docker logs --tail 20 -- "$name" 2>&1 || true
        echo "--- its last health checks:"
        docker inspect --type container --format '{{with .State.Health}}{{range .Log}}exit {{.ExitCode}}: {{.Output}}
{{end}}{{end}}' -- "$name" | grep . | tail -n 5 || true
        echo "$name: found it $found, expected it healthy within $seconds s of its start; its output is above"
    } | tr -d '\000-\010\013-\037' >&2
    cat >/dev/null
    exit 1
}

# Brings up the containers that are named after the options, without those that they depend on: a container that needs no
# change stays, even if another version of Compose has written its configuration hash.
compose_up() {
    local options=()
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    if (($# == 1)); then return; fi
    if ! COMPOSE_IGNORE_ORPHANS=1 docker compose --progress plain --project-name "$project" --file compose.yaml \
        up --detach --no-deps --no-build --pull never "${options[@]}" "$@" </dev/null; then
        cat >/dev/null
        echo "$project: found that Compose could not bring up ${*:2}; its output is above" >&2
        exit 1
    fi
}

deadline=$((SECONDS + seconds))
while read -r -a level; do
    names=("${level[@]#=}") kept=() recreated=()
    declare -A before=()
    for name in "${names[@]}"; do
        before[$name]=$(inspect "$name")
        # A container that waits for its next attempt starts at once: what it lacked may be available by now.
        if [[ ${before[$name]} == "restarting "* ]]; then docker stop -- "$name" >/dev/null; fi
    done
    for name in "${level[@]}"; do
        if [[ $name == =* ]]; then kept+=("${name#=}"); else recreated+=("$name"); fi
    done
    compose_up --no-recreate -- "${kept[@]}"
    # Compose does not see every reason to recreate a container, such as a network that somebody has removed.
    compose_up --force-recreate -- "${recreated[@]}"
    reported=$SECONDS
    while true; do
        waiting=()
        for name in "${names[@]}"; do
            read -r status health started restarts <<<"$(inspect "$name")" || true
            read -r _ _ started_before restarts_before <<<"${before[$name]:-}" || true
            if [[ ${started:-} != "${started_before:-}" ]]; then restarts_before=0; fi
            failed=$((${restarts:-0} - ${restarts_before:-0}))
            if ((failed >= attempts)); then fail "$name" "starting again and again"; fi
            if [[ ${status:-} == running && $health == healthy ]]; then continue; fi
            # An old container may become healthy again; a new one that is unhealthy never was healthy.
            case "${status:-gone} ${health:-}" in
            "running unhealthy")
                if [[ $started != "${started_before:-}" ]]; then fail "$name" unhealthy; fi
                ;;
            "running "* | "created "* | "restarting "*) ;;
            *) fail "$name" "${status:-gone}" ;;
            esac
            waiting+=("$name (${health:-$status})")
        done
        if ((${#waiting[@]} == 0)); then break; fi
        if ((SECONDS >= deadline)); then
            name=${waiting[0]%% *}
            fail "$name" "still ${waiting[0]#* }"
        fi
        if ((SECONDS - reported >= 5)); then
            reported=$SECONDS
            echo "waiting for ${waiting[*]}"
        fi
        sleep 0.3
    done
    echo "healthy: ${names[*]}"
done
