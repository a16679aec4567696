#!/bin/sh
# Start as the image of 1.23 does: begin as root, give the data to PUID and PGID, become these.
set -e
user=${PUID:-0} group=${PGID:-0}
chown -hR "$user:$group" /app/data
exec setpriv --reuid "$user" --regid "$group" --clear-groups "$@"
