#!/usr/bin/env bash
# Tell Uptime Kuma how a job ended; it alerts when that was badly, and when nothing is told in time.
# usage: heartbeat.sh JOB STATUS
#
# The address is in a file of the job's name, which holds its token; see phases/monitors.py. A job is never failed by
# this: where nobody listens, Uptime Kuma is down, or misses the heartbeat. A job that found its lock taken (status 75,
# `flock -E 75`) has not run, and its round is left out. One that found something wrong and has told the owner of it
# (status 76) has run: a second message would say less than the first.
set -euo pipefail

folder=${HEARTBEATS:-/etc/sourcefast/heartbeats}
job=$1 status=$2

[[ $status -ne 75 && -f $folder/$job ]] || exit 0
case $status in
0) state=up message=OK ;;
76) state=up message="found something wrong, and told it" ;;
*) state=down message="ended with status $status" ;;
esac
curl --config "$folder/$job" --silent --show-error --fail --noproxy '*' --max-time 20 --retry 3 --output /dev/null --get \
    --data-urlencode "status=$state" --data-urlencode "msg=$message" || echo "heartbeat of $job did not arrive" >&2
