#!/bin/bash
# Pull one model through one Ollama instance. $1: the instance's port, $2: the model with its tag.
#
# Ollama resumes an interrupted pull, so a pull that breaks off is simply repeated.
set -euo pipefail

readonly port=$1 model=$2
readonly url=http://127.0.0.1:$port
readonly attempts=4
readonly patience=${OLLAMA_PATIENCE:-60} # seconds to wait for the instance to answer

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

answers() {
    curl --silent --fail --output /dev/null --max-time 5 --noproxy '*' "$url/api/version"
}

# Reads the stream of /api/pull, a JSON object a line, and prints a line for each new tenth of each big layer.
# Returns 0 when the last status was success; leaves Ollama's error, if any, in `failure`.
follow() {
    local line layer='' tenth=-1 now total
    failure='the connection was lost'
    while IFS= read -r line; do
        case $line in
            *'"error":'*)
                failure=${line#*'"error":'}
                failure=${failure#\"} failure=${failure%\}} failure=${failure%\"}
                return 1
                ;;
            *'"status":"success"'*) return 0 ;;
        esac
        [[ $line =~ \"digest\":\"sha256:([0-9a-f]{12}) ]] || continue
        if [[ ${BASH_REMATCH[1]} != "$layer" ]]; then
            layer=${BASH_REMATCH[1]} tenth=-1
        fi
        [[ $line =~ \"total\":([0-9]+) ]] || continue
        total=${BASH_REMATCH[1]}
        [[ $line =~ \"completed\":([0-9]+) ]] || continue
        now=${BASH_REMATCH[1]}
        if ((total >= 10 * 1024 * 1024 && 10 * now / total > tenth)); then
            tenth=$((10 * now / total))
            echo "$model: layer $layer $((10 * tenth)) % of $((total / 1024 / 1024)) MiB"
        fi
    done
    return 1
}

waited=0
until answers; do
    ((waited < patience)) || die \
        "found:    no answer from Ollama on port $port for $patience s" \
        "expected: an instance to pull $model through" \
        "fix:      journalctl -u 'ollama@*' -n 50"
    sleep 1
    waited=$((waited + 1))
done

for ((attempt = 1; attempt <= attempts; attempt++)); do
    echo "$model: pulling through port $port"
    # Silence for five minutes is a dead connection; a pull as a whole may take hours.
    if follow < <(curl --silent --no-buffer --speed-limit 1 --speed-time 300 --noproxy '*' \
        --data "{\"model\":\"$model\"}" "$url/api/pull"); then
        echo "$model: pulled"
        exit 0
    fi
    echo "$model: attempt $attempt of $attempts failed: $failure" >&2
    ((attempt == attempts)) || sleep $((attempt * ${OLLAMA_PULL_PAUSE:-5}))
done
die \
    "found:    $model could not be pulled: $failure" \
    "expected: the model in the store of the instance on port $port" \
    "fix:      check the model's name, the free disk (df -h) and the connection to Ollama's registry, and run again"
