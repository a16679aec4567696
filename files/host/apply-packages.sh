#!/usr/bin/env bash
# Installs and holds Debian packages; sent by operations/apt.py.
#
#     apply-packages.sh [option of apt-get install]...
#
# Standard input: lines of an action and its argument. The actions are repair, update, mask (a unit), install and hold; they
# are done in this order, each for all its arguments at once.
set -euo pipefail
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
stamp=/var/lib/apt/periodic/update-success-stamp # facts/apt.py

declare -A arguments_of
while IFS=' ' read -r action argument; do
    if [[ -n $argument ]]; then arguments_of[$action]+=" $argument"; fi
done

# Arguments of an action, in `arguments`; false if there are none.
named() {
    read -r -a arguments <<<"${arguments_of[$1]-}"
    ((${#arguments[@]}))
}

apt=(apt-get -y -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold)

output=$(mktemp)
trap 'rm -f -- "$output"' EXIT
# Runs a command that does not wait for a lock by itself, and repeats it for five minutes while it fails on a lock.
retry_locked() {
    local try
    for try in {1..30}; do
        if "$@" </dev/null 2>&1 | tee "$output"; then return 0; fi
        grep -qE 'get lock|frontend lock|is locked' "$output" || return 1
        printf 'another apt or dpkg is at work, trying again in 10 s (%s of 30)\n' "$try"
        sleep 10
    done
    return 1
}

if named repair; then
    retry_locked dpkg --force-confdef --force-confold --configure -a
    "${apt[@]}" --fix-broken install </dev/null
fi
if named update; then
    retry_locked "${apt[@]}" -o APT::Update::Error-Mode=any update
    mkdir -p -- "${stamp%/*}"
    touch -- "$stamp"
fi
if named mask; then systemctl mask --quiet -- "${arguments[@]}"; fi
if named install; then
    "${apt[@]}" "$@" install -- "${arguments[@]}" </dev/null
    for argument in "${arguments[@]}"; do
        status=$(dpkg-query -W -f '${db:Status-Abbrev}' -- "$argument" 2>/dev/null) || status=
        if [[ ${status:1:1} != i ]]; then
            printf '%s: apt succeeded, but found no package of this name, expected it installed; ' "$argument" >&2
            printf 'it may be a virtual one: name the package that provides it\n' >&2
            exit 1
        fi
    done
fi
if named hold; then apt-mark hold -- "${arguments[@]}"; fi
