#!/bin/sh
# Names of the variables in environment files, each with a hash of its value, for facts/environment_files.py.
# Arguments: the files. A value in single quotes may go over several lines: none of them is taken for a name.
set -u

for path; do
    [ -f "$path" ] || continue
    printf '@@%s\n' "$path"
    name='' text=''
    while IFS= read -r line || [ -n "$line" ]; do
        if [ -z "$name" ]; then
            name=${line%%=*} text=${line#*=}
            case $name in
                *[!A-Za-z0-9_.]* | '' | "$line") # no variable: somebody has edited the file, and this may be a value
                    name=''
                    continue
                    ;;
            esac
        else
            text="$text
$line"
        fi
        case $text in
            "'"*"\\'" | "'") continue ;; # goes on in the next line
            "'"*"'" | [!\']* | '') ;;
            *) continue ;;
        esac
        digest=$(printf '%s' "$text" | sha256sum)
        printf '%s %s\n' "${digest%% *}" "$name"
        name='' text=''
    done <"$path"
done
