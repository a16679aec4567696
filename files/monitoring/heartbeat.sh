#!/usr/bin/env bash
# Report to Uptime Kuma how a job ended. It alerts after a failure, and when no report comes in time.
# usage: heartbeat.sh JOB STATUS
#
# The address is in a file with the job's name, and has a token; see blueprint/kuma.py. No answer is no failure of the
# job: Uptime Kuma is down, or misses the heartbeat. A job whose lock was taken (status 75, `flock -E 75`) has not run, and
# reports nothing. A job that failed and has notified the owner (status 76) is reported as up: a second message would say
# less than the first.
set -euo pipefail

folder=${HEARTBEATS:-/etc/sourcefast/heartbeats}
job=$1 status=$2

[[ $status -ne 75 && -f $folder/$job ]] || exit 0
case $status in
0) state=up message=OK ;;
76) state=up message="failed, and notified the owner" ;;
*) state=down message="ended with status $status" ;;
esac
curl --config "$folder/$job" --silent --show-error --fail --noproxy '*' --max-time 20 --retry 3 --output /dev/null --get \
    --data-urlencode "status=$state" --data-urlencode "msg=$message" || echo "heartbeat of $job did not arrive" >&2
