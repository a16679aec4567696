#!/bin/sh
# As in MinIO's image: a command or an option of minio needs no `minio` before it.
case ${1:-} in
minio | /*) ;;
sh | bash) ;;
*) set -- minio "$@" ;;
esac
exec "$@"
