#!/usr/bin/env bash
# Puts in place what a run on the owner's runner needs, from the variables of its step. No value is printed.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077

for name in PRODUCTION_YAML KNOWN_HOSTS SSH_KEY AGE_IDENTITY SECRETS_FOLDER; do
    [ -n "${!name:-}" ] || {
        echo "$name: not set, expected in the environment of the job; docs/ci.md says what it is" >&2
        exit 1
    }
done
[ -f "$SECRETS_FOLDER/production.yaml.age" ] || { # a run without it would generate every password anew
    echo "SECRETS_FOLDER: has no production.yaml.age, expected the encrypted secrets on this runner; see docs/ci.md" >&2
    exit 1
}

mkdir -p .production
printf '%s\n' "$SSH_KEY" >.production/ssh_key
printf '%s\n' "$KNOWN_HOSTS" >.production/known_hosts
printf '%s\n' "$AGE_IDENTITY" >.production/age_identity
[ -z "${SSH_CONFIG:-}" ] || printf '%s\n' "$SSH_CONFIG" >.production/ssh_config # of a jump host
printf '%s\n' "$PRODUCTION_YAML" >production.yaml
ln -sfn "$SECRETS_FOLDER" secrets
