#!/usr/bin/env bash
# Removes stacks or single containers; sent by operations/stacks.py.
#
#     remove.sh ROOT SAVED NAME...
#
# SAVED is the folder for archives of the volumes, which are then removed as well; without SAVED they stay.
set -euo pipefail
root=$1 saved=$2
shift 2

# Archives a volume that no container has, compares the archive, and removes the volume.
remove_volume() {
    local volume=$1 path archive needed free
    if [[ -n $(docker ps --all --quiet --filter "volume=$volume") ]]; then
        echo "$volume: kept, another container has it"
        return
    fi
    path=$(docker volume inspect --format '{{.Mountpoint}}' -- "$volume")
    archive=$saved/$volume/$(date -u +%Y%m%dT%H%M%SZ).tar.zst
    (umask 077 && mkdir -p -- "$saved/$volume")
    rm -f -- "$saved/$volume"/*.part # of a killed run
    needed=$(du --summarize --block-size=1 -- "$path" | cut -f1)
    free=$(df --output=avail --block-size=1 -- "$saved" | tail -n 1)
    if ((needed > free)); then
        echo "$volume: found $free bytes free in $saved, expected up to $needed for its archive; it is kept" >&2
        exit 1
    fi
    (umask 077 && tar -C "$path" --numeric-owner -cf - . | zstd --quiet -o "$archive.part")
    if ! zstd --quiet --decompress --stdout -- "$archive.part" | tar -C "$path" --numeric-owner --compare -f -; then
        echo "$volume: found that its archive $archive.part differs from it; it is kept" >&2
        exit 1
    fi
    sync -- "$archive.part"
    mv -- "$archive.part" "$archive"
    sync -- "$saved/$volume"
    docker volume rm -- "$volume" >/dev/null
    echo "$volume: removed, and archived in $archive"
}

# Without an answer of the engine, the lists below would be empty.
docker version >/dev/null
for name in "$@"; do
    mapfile -t containers < <(docker ps --all --quiet --filter "label=com.docker.compose.project=$name")
    mapfile -t volumes < <(docker volume ls --quiet --filter "label=com.docker.compose.project=$name")
    if ((${#containers[@]} == 0)) && [[ ! -d $root/$name ]]; then
        containers=("$name") # a container whose stack is still declared
        mapfile -t volumes < <(docker inspect --type container --format '{{range .Mounts}}{{if eq .Type "volume"}}{{
            .Name}}{{"\n"}}{{end}}{{end}}' -- "$name" | grep .)
    fi
    if ((${#containers[@]})); then
        docker stop -- "${containers[@]}" >/dev/null
        docker rm -- "${containers[@]}" >/dev/null
    fi
    # A container that only monitors the stack leaves its network: it is recreated without it.
    private=${name}_private
    if docker network inspect -- "$private" >/dev/null 2>&1; then
        for container in $(docker network inspect --format '{{range $id, $_ := .Containers}}{{$id}} {{end}}' -- "$private"); do
            docker network disconnect --force -- "$private" "$container"
        done
        docker network rm -- "$private" >/dev/null
    fi
    for volume in "${volumes[@]}"; do
        if [[ -n $saved ]]; then
            remove_volume "$volume"
        else
            echo "$volume: kept, with its data"
        fi
    done
    # Last, because the next run finds by the folder what this one did not finish.
    if [[ -d $root/$name ]]; then rm -r -- "${root:?}/$name"; fi
    echo "$name: removed"
done
