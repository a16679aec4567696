#!/bin/bash
# Give back disk that Docker no longer needs. Nothing that a stopped container or a service could still want is touched:
# no containers, no tagged images, no named volumes, nothing labelled keep=true.
set -euo pipefail

readonly age=${DOCKER_CLEANUP_AGE:-168h}

log() {
    printf '%(%FT%T%z)T %s\n' -1 "$*"
}

log "images without a name and build cache older than $age"
docker image prune --force --filter "until=$age" --filter 'label!=keep=true'
docker builder prune --force --filter "until=$age"

# Not `docker volume prune`: an engine older than 23 takes that to mean every unused volume. The label is one that newer
# engines give to the volumes that nobody named; without it nothing is removed.
log 'unused volumes without a name'
# A question that gets no answer ends it here: what is to be kept is not known then.
unused=$(docker volume ls --quiet --filter dangling=true --filter label=com.docker.volume.anonymous)
kept=$(docker volume ls --quiet --filter label=keep=true)
comm -23 <(sort <<<"$unused") <(sort <<<"$kept") |
    while IFS= read -r volume; do
        # One that a container has taken since is in use, and refused.
        [[ -z $volume ]] || docker volume rm "$volume" || true
    done
log 'done'
