#!/bin/bash
# Free disk that Docker no longer needs. Nothing that a stopped container or a service could still need is removed: no
# containers, no tagged images, no named volumes, nothing labelled keep=true.
set -euo pipefail

readonly age=${DOCKER_CLEANUP_AGE:-168h}

log() {
    printf '%(%FT%T%z)T %s\n' -1 "$*"
}

log "images without a name and build cache older than $age"
docker image prune --force --filter "until=$age" --filter 'label!=keep=true'
docker builder prune --force --filter "until=$age"

# Not `docker volume prune`: an engine older than 23 removes every unused volume with it. Newer engines label anonymous
# volumes; without the label nothing is removed.
log 'unused volumes without a name'
# Without an answer the script ends here, because it would not know which volumes to keep.
unused=$(docker volume ls --quiet --filter dangling=true --filter label=com.docker.volume.anonymous)
kept=$(docker volume ls --quiet --filter label=keep=true)
comm -23 <(sort <<<"$unused") <(sort <<<"$kept") |
    while IFS= read -r volume; do
        # Docker refuses to remove a volume that a container has used since.
        [[ -z $volume ]] || docker volume rm "$volume" || true
    done
log 'done'
