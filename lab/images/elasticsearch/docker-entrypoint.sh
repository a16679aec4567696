#!/bin/bash
# As the real image's: `eswrapper` (the default) or `elasticsearch`, each with -E options; anything else is run.
# bash hands on variables with a dot in their names; a plain sh loses them.
set -eu
case ${1:-eswrapper} in
    eswrapper | elasticsearch | -E*)
        case ${1:-} in eswrapper | elasticsearch) shift ;; esac
        exec python3 /usr/local/lib/elasticsearch.py "$@"
        ;;
esac
exec "$@"
