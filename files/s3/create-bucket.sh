#!/usr/bin/env bash
# Create a bucket in the object storage of a container; one that its owner has already is fine.
# arguments: CONTAINER PORT BUCKET; on standard input: access key and secret key, a line each
set -euo pipefail
container=$1 port=$2 bucket=$3
IFS= read -r access_key
IFS= read -r secret_key

refuse() {
    echo "bucket $bucket in $container: $*" >&2
    exit 1
}

read -r address _ < <(
    docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' -- "$container"
) || true
[[ -n ${address:-} ]] || refuse "the container has no address; look at \`docker ps --all\`"

# As a configuration file on curl's standard input: arguments show in process lists.
quoted() {
    local text=${1//\\/\\\\}
    printf '%s' "${text//\"/\\\"}"
}
nothing=$(sha256sum </dev/null)
request() {
    # S3 wants the hash of the content signed, which curl before 8 does not do by itself.
    printf 'user = "%s:%s"\n' "$(quoted "$access_key")" "$(quoted "$secret_key")" |
        curl --config - --silent --show-error --noproxy '*' --connect-timeout 5 --max-time 30 --retry 5 \
            --retry-connrefused --aws-sigv4 aws:amz:us-east-1:s3 --header "x-amz-content-sha256: ${nothing%% *}" \
            "$@" --write-out '\n%{http_code}' "http://$address:$port/$bucket"
}

answer=$(request --request PUT) || refuse "http://$address:$port does not answer"
status=${answer##*$'\n'}
case $status in
200 | 204) echo "bucket $bucket created" ;;
409)
    [[ $answer == *BucketAlreadyOwnedByYou* || $answer == *BucketAlreadyExists* ]] ||
        refuse "answers 409: ${answer%$'\n'*}"
    ;;
403) refuse "the storage refuses the keys; they are those that the container was started with (403)" ;;
*) refuse "answers $status: ${answer%$'\n'*}" ;;
esac
answer=$(request --head --output /dev/null) || refuse "http://$address:$port no longer answers"
[[ ${answer##*$'\n'} == 200 ]] || refuse "is not there after it was created (${answer##*$'\n'})"
