#!/bin/bash
# Restart every Ollama instance, one after the other, each warm before the next one restarts: at most one is missing at any
# moment. A restart frees fragmented VRAM. cron runs this under the lock of the GPU watchdog, which waits meanwhile.
set -euo pipefail

readonly folder=${OLLAMA_ENV:-/etc/ollama}

log() {
    printf '%(%FT%T%z)T %s\n' -1 "$*"
}

shopt -s nullglob
failed=0
for file in "$folder"/*.env; do
    name=$(basename "$file" .env)
    # The second command waits for the warm-up that the first one has started.
    if systemctl restart "ollama@$name.service" && systemctl start "ollama-warmup@$name.service"; then
        log "$name: restarted and warm"
    else
        log "$name: failed; see journalctl -u ollama@$name -u ollama-warmup@$name"
        failed=1
    fi
done
# Upgrades may have installed a newer nginx for the filter in front of them.
if ! systemctl try-restart ollama-filter.service; then
    log "filter: failed; see journalctl -u ollama-filter"
    failed=1
fi
exit "$failed"
