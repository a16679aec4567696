#!/usr/bin/env bash
# Brings containers of a Compose project up and waits until they are healthy; sent by operations/stacks.py.
#
#     up.sh FOLDER PROJECT SECONDS
#
# Standard input: names of containers, which are also those of their services, separated by blanks. A line is a level:
# it is begun when everything of the one before is healthy. With a = before its name, a container that is there is
# started and not made anew.
set -euo pipefail
folder=$1 project=$2 seconds=$3
# Starts of a program that may fail: what it needs may be slow for a moment, and Docker starts it again.
attempts=3
cd -- "$folder"

# Status, health, time of its start and restarts of a container.
look() {
    docker inspect --type container --format '{{.State.Status}} {{with .State.Health}}{{.Status}}{{else}}none{{end}} {{
        .State.StartedAt}} {{.RestartCount}}' -- "$1" 2>/dev/null | tr -d '\n' || true
}

# What a container said at last, without what would move the cursor of whoever reads it.
fail() {
    local name=$1 found=$2
    {
        echo "--- last lines of $name:"
        docker logs --tail 20 -- "$name" 2>&1 || true
        echo "--- its last health checks:"
        docker inspect --type container --format '{{with .State.Health}}{{range .Log}}exit {{.ExitCode}}: {{.Output}}
{{end}}{{end}}' -- "$name" | grep . | tail -n 5 || true
        echo "$name: found it $found, wanted it healthy within $seconds s of its start; its own words are above"
    } | tr -d '\000-\010\013-\037' >&2
    cat >/dev/null
    exit 1
}

# Brings up what is named after the options. Only that and nothing it depends on: what needs no change is left alone,
# whatever this Compose thinks of the hash that another version of it has noted.
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
        echo "$project: found that Compose could not bring up ${*:2}; it says why above" >&2
        exit 1
    fi
}

deadline=$((SECONDS + seconds))
while read -r -a level; do
    names=("${level[@]#=}") kept=() made=()
    declare -A before=()
    for name in "${names[@]}"; do
        before[$name]=$(look "$name")
        # What waits for its next attempt need not wait: what it lacked may be there by now.
        if [[ ${before[$name]} == "restarting "* ]]; then docker stop -- "$name" >/dev/null; fi
    done
    for name in "${level[@]}"; do
        if [[ $name == =* ]]; then kept+=("${name#=}"); else made+=("$name"); fi
    done
    compose_up --no-recreate -- "${kept[@]}"
    # Compose itself does not see every reason for it, such as a network that somebody has taken away.
    compose_up --force-recreate -- "${made[@]}"
    told=$SECONDS
    while true; do
        waiting=()
        for name in "${names[@]}"; do
            read -r status health started restarts <<<"$(look "$name")" || true
            read -r _ _ started_before restarts_before <<<"${before[$name]:-}" || true
            if [[ ${started:-} != "${started_before:-}" ]]; then restarts_before=0; fi
            failed=$((${restarts:-0} - ${restarts_before:-0}))
            if ((failed >= attempts)); then fail "$name" "starting again and again"; fi
            if [[ ${status:-} == running && $health == healthy ]]; then continue; fi
            # An old container may be on its way back to health; a new one that is not healthy never was.
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
        if ((SECONDS - told >= 5)); then
            told=$SECONDS
            echo "waiting for ${waiting[*]}"
        fi
        sleep 0.3
    done
    echo "healthy: ${names[*]}"
done
