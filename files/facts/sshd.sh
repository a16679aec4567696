#!/bin/sh
# Settings of sshd, for facts/sshd.py. Argument: our own file of settings.
# Sections: effective (settings that apply to everybody, as sshd reports them), files (every other line of its
# configuration, with file and number), default (the distribution's own file), ours (our file), trial
# (whether it is on trial), keys (whether the user of this session may log in with a key).
set -u
PATH=$PATH:/usr/sbin:/sbin
exec 2>/dev/null
ours=$1

command -v sshd >/dev/null || exit 0
echo "@@effective"
sshd -T

echo "@@files"
for file in /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config; do
    [ "$file" = "$ours" ] || awk 'NF && $1 !~ /^#/ { print FILENAME ":" FNR ":" $0 }' "$file"
done
echo "@@default"
awk 'NF && $1 !~ /^#/' /usr/share/openssh/sshd_config

if [ -e "$ours" ]; then
    echo "@@ours"
    cat "$ours"
fi
echo "@@trial"
[ ! -e /run/ssh-settings ] || echo yes

# For this user, with Match blocks. A command or an authority for keys counts as a key.
echo "@@keys"
user=${SUDO_USER:-$(id -un)}
sshd -T -C "user=$user,host=localhost,addr=127.0.0.1" | while read -r name value; do
    case $name in
    authorizedkeyscommand | trustedusercakeys)
        [ "$value" = none ] || echo yes
        ;;
    authorizedkeysfile)
        home=$(getent passwd "$user" | cut -d : -f 6)
        for file in $value; do
            file=$(echo "$file" | sed "s|%h|$home|g; s|%u|$user|g")
            case $file in /*) ;; *) file=$home/$file ;; esac
            ! grep -qE '^[[:space:]]*[^#[:space:]]' "$file" || echo yes
        done
        ;;
    esac
done
exit 0
