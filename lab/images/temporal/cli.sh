#!/bin/sh
# The `temporal` command, as far as health checks use it.
cd /app && exec python3 -m temporal.cli "$@"
