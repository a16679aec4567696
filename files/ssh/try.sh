#!/usr/bin/env bash
# Apply a file of sshd's settings on trial, which comes on standard input; sent by operations/sshd.py.
# $1: its path, $2: seconds after which the former settings come back, $3: the unit that brings them back.
#
# To keep the settings, stop the timer of that unit and remove the folder in /run.
set -euo pipefail

readonly file=$1 seconds=$2 unit=$3
readonly before=/run/ssh-settings # the file as it was

undo="if [ -e $before/file ]; then cp -p $before/file $file; else rm -f $file; fi; rm -rf $before
systemctl try-reload-or-restart ssh.service"

new=$(mktemp "$file.XXXXXX") # not *.conf: sshd does not read it
trap 'rm -f "$new"' EXIT
cat >"$new"
chmod 0644 "$new"

systemctl stop "$unit.timer" 2>/dev/null || true
if [[ -e $before ]]; then bash -c "$undo"; fi # settings of an interrupted trial are none to come back to
mkdir -m 0700 "$before.new"
if [[ -e $file ]]; then cp -p "$file" "$before.new/file"; fi
mv "$before.new" "$before"

systemd-run --quiet --collect --unit="$unit" --on-active="$seconds" --timer-property=AccuracySec=100ms \
    --service-type=oneshot bash -c "$undo"
mv "$new" "$file"
if ! sshd -t; then
    systemctl stop "$unit.timer"
    bash -c "$undo"
    echo "found that sshd refuses these settings, for the reason above; the former ones are back" >&2
    exit 1
fi
# sshd reads its configuration on a reload, or with each connection if systemd listens for it.
systemctl try-reload-or-restart ssh.service
sleep 1 # sshd closes its sockets, and opens them again
