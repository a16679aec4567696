#!/usr/bin/env bash
# What a hoster and the owner have done to a server before its first run, with surprises. Root's login ends with it.
# $1: port of SSH, $2: the only address that may log in, $3: password of the user deploy, $4: his public key
set -euo pipefail
readonly port=$1 from=$2 password=$3 key=$4

apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends sudo

useradd --create-home --shell /bin/bash deploy
echo "deploy:$password" | chpasswd
echo 'deploy ALL=(ALL:ALL) ALL' >/etc/sudoers.d/deploy
install --directory --mode=0700 --owner=deploy --group=deploy /home/deploy/.ssh
echo "$key" | install --mode=0600 --owner=deploy --group=deploy /dev/stdin /home/deploy/.ssh/authorized_keys

printf 'LANG=fr_FR.UTF-8\nLC_ALL=fr_FR.UTF-8\n' >/etc/default/locale
cat >/home/deploy/.bashrc.new - /home/deploy/.bashrc <<'START_UP'
# Before the line by which Debian's own ends for commands.
echo "Bienvenue sur $(hostname) !"
echo "Une mise à jour est disponible." >&2
printf 'Bonne journée'
export LANG=fr_FR.UTF-8 LC_ALL=fr_FR.UTF-8
umask 077
shopt -s expand_aliases
alias ls='ls --color=always -l' grep='grep --color=always' cp='cp -i' rm='rm -i'
PS1='\w > ' PROMPT_COMMAND='echo prêt'
cd /tmp
START_UP
mv /home/deploy/.bashrc.new /home/deploy/.bashrc

echo 'Accès réservé.' >/etc/issue.net
rm /etc/ssh/sshd_config.d/lab.conf # as Debian has it: few sessions, root, passwords
cat >/etc/ssh/sshd_config.d/10-owner.conf <<SSHD
Port $port
AllowUsers deploy@$from
Banner /etc/issue.net
SSHD
systemctl restart ssh
