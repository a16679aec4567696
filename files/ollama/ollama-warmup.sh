#!/bin/bash
# Load the model of an Ollama instance into its card for good. ollama-warmup@.service runs this with the environment of
# the instance and with WARMUP_MODEL.
#
# A request without a prompt loads the model and generates nothing, so a reasoning model does not delay it.
set -euo pipefail

readonly url=http://127.0.0.1:${OLLAMA_HOST##*:}
readonly patience=${WARMUP_PATIENCE:-120} # seconds to wait for the API

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

deadline=$((SECONDS + patience))
until curl --silent --fail --output /dev/null --max-time 5 --noproxy '*' "$url/api/version"; do
    ((SECONDS < deadline)) || die "found:    no answer on $url for $patience s" "expected: Ollama's API" \
        "fix:      see the journal of the instance of this unit"
    sleep 1
done

answer=$(curl --silent --show-error --max-time 840 --noproxy '*' \
    --data "{\"model\":\"$WARMUP_MODEL\",\"keep_alive\":-1,\"stream\":false}" "$url/api/generate")
[[ $answer == *'"done":true'* ]] || die "found:    ${answer:-an empty answer}" "expected: $WARMUP_MODEL loaded by $url" \
    "fix:      if the model is missing, run the provisioning again, which pulls it"
echo "$WARMUP_MODEL is loaded by $url"
