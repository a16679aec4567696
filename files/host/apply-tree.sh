#!/usr/bin/env bash
# Brings files, directories and links of this host to their desired state; sent by operations/files.py.
#
# Standard input: records of eight fields, each field ended by a NUL:
#     action  path  mode  owner  group  secret  detail  sha256
# with the actions
#     abandoned   a staging directory that a killed run left: remove it
#     directory   create it, or correct its mode and owner
#     attributes  correct mode and owner of a file whose content is right
#     file        detail: command that validates "$1" (may be empty)
#     link        detail: its target
#     absent      remove a file, a link or an empty directory
#     end
# and then, for each `file` in the same order, its content: length of its base64 text, newline, base64 text.
#
# No file is replaced before every file is written beside its destination, has its mode and owner, and has passed its
# validation; then each is renamed into place. Killed at any moment, every path has its old or its new content.
set -euo pipefail
umask 077

staging=()
finish() {
    local status=$?
    if ((${#staging[@]})); then rm -rf -- "${staging[@]}"; fi
    cat >/dev/null || true # the sender reads no answer before it has sent everything
    exit "$status"
}
trap finish EXIT

refuse() {
    printf '%s\n' "$*" >&2
    exit 1
}

# One run at a time: the staging directories of another living run are not abandoned.
exec 9</
flock --wait 300 9 ||
    refuse "found another run at work on this host's files for 5 minutes, expected none; nothing was changed"

actions=() paths=() modes=() owners=() secrets=() details=() hashes=()
while true; do
    fields=()
    for _ in {1..8}; do
        IFS= read -r -d '' value || refuse "the list of files ended too early; the connection was lost, nothing was changed"
        fields+=("$value")
    done
    [[ ${fields[0]} != end ]] || break
    actions+=("${fields[0]}")
    paths+=("${fields[1]}")
    modes+=("${fields[2]}")
    owners+=("${fields[3]}:${fields[4]}")
    secrets+=("${fields[5]}")
    details+=("${fields[6]}")
    hashes+=("${fields[7]}")
done

folder_of() {
    local folder=${1%/*}
    printf '%s' "${folder:-/}"
}

# Sets `staged` to where the content of a path is prepared: in a private directory on the same file system, under its
# real name, which validators such as systemd-analyze insist on.
declare -A stage
stage_for() {
    local folder
    folder=$(folder_of "$1")
    if [[ -z ${stage[$folder]-} ]]; then
        [[ -d $folder ]] || refuse "$1: found no directory $folder; declare it as a Directory in front of the file"
        stage[$folder]=$(mktemp -d -- "${folder%/}/.pyinfra-tree.XXXXXXXX")
        staging+=("${stage[$folder]}")
    fi
    staged=${stage[$folder]}/${1##*/}
}

for i in "${!actions[@]}"; do
    path=${paths[i]}
    case ${actions[i]} in
    abandoned)
        rm -rf -- "$path"
        printf '%s: removed, left by an interrupted run\n' "$path"
        ;;
    directory)
        if [[ ! -d $path ]]; then
            folder=$(folder_of "$path")
            [[ -d $folder ]] || refuse "$path: found no directory $folder; declare it as a Directory in front of this one"
            mkdir -- "$path"
        fi
        chown -- "${owners[i]}" "$path"
        chmod -- "${modes[i]}" "$path"
        printf '%s/: directory %s %s\n' "$path" "${modes[i]}" "${owners[i]}"
        ;;
    esac
done

written=()
for i in "${!actions[@]}"; do
    path=${paths[i]}
    case ${actions[i]} in
    file)
        stage_for "$path"
        IFS= read -r length || refuse "$path: the connection was lost, no file was changed"
        head -c "$length" | base64 -d >"$staged" || refuse "$path: could not be staged, no file was changed"
        [[ $(sha256sum <"$staged") == "${hashes[i]}  -" ]] ||
            refuse "$path: arrived damaged, no file was changed; run again"
        chown -- "${owners[i]}" "$staged"
        chmod -- "${modes[i]}" "$staged"
        written+=("$staged")
        ;;
    link)
        stage_for "$path"
        ln -s -- "${details[i]}" "$staged"
        ;;
    esac
done

for i in "${!actions[@]}"; do
    [[ ${actions[i]} == file && -n ${details[i]} ]] || continue
    path=${paths[i]}
    stage_for "$path"
    if ! output=$(bash -c "${details[i]}" validate "$staged" 2>&1 </dev/null 9<&-); then
        [[ ${secrets[i]} == 0 ]] || output="(its output may hold secrets and is not shown)"
        refuse "${output//"$staged"/"$path"}"$'\n'"$path: refused by its validation (${details[i]//\"\$1\"/the new file}); no file was changed"
    fi
done

if ((${#written[@]})); then sync -- "${written[@]}"; fi

for i in "${!actions[@]}"; do
    path=${paths[i]}
    case ${actions[i]} in
    attributes)
        chown -h -- "${owners[i]}" "$path"
        chmod -- "${modes[i]}" "$path"
        printf '%s: %s %s\n' "$path" "${modes[i]}" "${owners[i]}"
        ;;
    file)
        stage_for "$path"
        mv -fT -- "$staged" "$path"
        printf '%s: written\n' "$path"
        ;;
    link)
        stage_for "$path"
        mv -fT -- "$staged" "$path"
        printf '%s -> %s\n' "$path" "${details[i]}"
        ;;
    absent)
        if [[ -d $path && ! -L $path ]]; then
            rmdir -- "$path" || refuse "$path: found a directory with something in it, expected nothing there; empty it first"
        else
            rm -f -- "$path"
        fi
        printf '%s: removed\n' "$path"
        ;;
    esac
done
