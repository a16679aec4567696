#!/bin/sh
# A docker for tests of the host's scripts, of which each asks it some thirty times: what fake_docker.py has written
# beside it is told without another program, and so are the answers of the servers in its containers.
here=${0%/*}
printf '%s\n' "$*" >>"$here/arguments"

# Answer by the text of a query; line by line, as in a transaction.
psql() {
    query=
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s\n' "$line" >&3
        query="$query$line
"
        if [ "$line" = '\echo -- answered --' ]; then
            answer
            echo '-- answered --'
            query=
        fi
    done 3>>"$here/queries"
    answer
}

redis() {
    while read -r line || [ -n "$line" ]; do keys; done
}

case $1 in
    ps)
        case "$*" in *--all*) list=all ;; *) list=running ;; esac
        while read -r name; do printf '%s\n' "$name"; done <"$here/$list"
        ;;
    inspect) # --type container NAME...
        shift 3
        begin='['
        for name; do
            read -r account <"$here/account-of-$name" || exit 1
            printf '%s%s' "$begin" "$account"
            begin=,
        done
        echo ']'
        ;;
    exec) # [--env NAME | --user NAME | --interactive]... NAME PROGRAM...
        shift
        while :; do
            case $1 in
                --env | --user) shift 2 ;;
                --*) shift ;;
                *) break ;;
            esac
        done
        # A scratch container says what the one says that it is like.
        name=${1#restore-test-}
        shift
        case "$1 $2 $#" in # sh -c SCRIPT [sh PROGRAM...]
            'sh -c 3') set -- ;;
            'sh -c '*) shift 4 ;;
        esac
        database=
        # shellcheck disable=SC2034 # the file below reads it
        for word; do
            case $word in
                --dbname=*) database=${word#--dbname=} && break ;;
            esac
        done
        if ! [ -e "$here/inside-$name" ]; then
            echo "fake docker: no $name" >&2
            exit 1
        fi
        # shellcheck source=/dev/null
        . "$here/inside-$name"
        inside "$@"
        ;;
    *) echo ;;
esac
