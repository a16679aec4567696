#!/usr/bin/env bash
# Downloads, checks and unpacks a release archive in place of the previous one; sent by operations/releases.py.
#
#     install-release.sh URL SHA256 DESTINATION STAMP PATH...
#
# PATHs are the files and folders of the release, relative to DESTINATION.
set -euo pipefail
umask 022
url=$1 sha256=$2 destination=$3 stamp=$4
shift 4

refuse() {
    printf '%s: %s\n' "$url" "$*" >&2
    exit 1
}
for program in curl tar zstd; do
    [[ -n $(type -P "$program") ]] || refuse "found no $program on this host, which unpacks the archive; install it"
done

mkdir -p -- "$destination" "${stamp%/*}"
# One at a time: only then is a folder that exists here of a killed run.
exec 9<"$destination"
flock 9
rm -rf -- "$destination"/.release.*
work=$(mktemp -d -- "$destination/.release.XXXXXXXX") # private, and on the same file system for the rename
download=
finish() {
    if [[ -n $download ]]; then kill "$download" 2>/dev/null || true; fi
    rm -rf -- "$work"
}
trap finish EXIT

curl --fail --location --silent --show-error --retry 3 --connect-timeout 30 --speed-limit 1024 --speed-time 120 \
    --dump-header "$work/headers" --output "$work/archive" -- "$url" 9<&- &
download=$!
seconds=0
while kill -0 "$download" 2>/dev/null; do
    sleep 0.2
    ((++seconds % 25 == 0)) || continue # a line every five seconds
    have=$(stat -c %s -- "$work/archive" 2>/dev/null || echo 0)
    length=$(sed -n 's/^content-length: *\([0-9]*\).*/\1/Ip' "$work/headers" 2>/dev/null | tail -n 1) || true
    printf 'downloaded %s%s MiB\n' "$((have / 1048576))" "${length:+ of $((length / 1048576))}"
done
wait "$download" || refuse "could not be downloaded (see the error of curl above); nothing was changed"

found=$(sha256sum <"$work/archive")
[[ ${found%% *} == "$sha256" ]] ||
    refuse "found sha256 ${found%% *}, expected $sha256; nothing was changed: compare with the publisher's and correct the pin"

printf 'unpacking %s MiB\n' "$(($(stat -c %s -- "$work/archive") / 1048576))"
mkdir -- "$work/new" "$work/old"
tar -xf "$work/archive" --no-same-owner -C "$work/new"
for path in "$@"; do
    [[ -e $work/new/$path ]] || refuse "found no $path in the archive, expected it there; nothing was changed"
done

rm -f -- "$stamp"
count=0
for path in "$@"; do
    mkdir -p -- "$(dirname -- "$destination/$path")"
    if [[ -e $destination/$path || -L $destination/$path ]]; then
        mv -T -- "$destination/$path" "$work/old/$((++count))"
    fi
    mv -T -- "$work/new/$path" "$destination/$path"
done
sync -f -- "$destination"
printf '%s %s\n' "$sha256" "$url" >"$work/stamp"
cp -- "$work/stamp" "$stamp.new" # it may lie on another file system
mv -T -- "$stamp.new" "$stamp"
printf 'installed %s\n' "$url"
