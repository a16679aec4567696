#!/usr/bin/env bash
# Create a bucket in the object storage of a container, unless its owner has it already.
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
[[ -n ${address:-} ]] || refuse "the container has no address; see \`docker ps --all\`"

# For a configuration file on curl's standard input, because arguments show in process lists.
quoted() {
    local text=${1//\\/\\\\}
    printf '%s' "${text//\"/\\\"}"
}
empty_hash=$(sha256sum </dev/null)
request() {
    # S3 requires a signature of the content's hash, which curl before 8 does not add by itself.
    printf 'user = "%s:%s"\n' "$(quoted "$access_key")" "$(quoted "$secret_key")" |
        curl --config - --silent --show-error --noproxy '*' --connect-timeout 5 --max-time 30 --retry 5 \
            --retry-connrefused --aws-sigv4 aws:amz:us-east-1:s3 --header "x-amz-content-sha256: ${empty_hash%% *}" \
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
[[ ${answer##*$'\n'} == 200 ]] || refuse "does not exist after it was created (${answer##*$'\n'})"
