#!/usr/bin/env bash
# Fetches a repository's signing key. Arguments: its address, the fingerprint it must have, the keyring to write.
set -euo pipefail
url=$1 fingerprint=$2 keyring=$3

work=$(mktemp -d)
install -d -m 0755 "${keyring%/*}"
staged=$(mktemp "${keyring%/*}/.keyring.XXXXXX")
trap 'rm -rf "$work" "$staged"' EXIT
export GNUPGHOME=$work

curl --fail --silent --show-error --location --retry 3 --connect-timeout 30 --max-time 120 \
    --output "$work/key" "$url" || {
    echo "found no key at $url; expected the repository's signing key: see whether the host reaches that address" >&2
    exit 1
}
found=$(gpg --batch --show-keys --with-colons "$work/key" 2>/dev/null |
    awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }' | paste -sd ' ')
if [ "$found" != "$fingerprint" ]; then
    echo "found the key ${found:-(none)} at $url; expected $fingerprint:" \
        "if its owner has changed keys, check the new one and declare its fingerprint" >&2
    exit 1
fi
if grep -q 'BEGIN PGP' "$work/key"; then
    gpg --batch --yes --dearmor --output "$staged" "$work/key"
else
    cat "$work/key" >"$staged"
fi
chmod 0644 "$staged"
mv -T "$staged" "$keyring"
