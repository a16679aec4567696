#!/bin/sh
# The distribution's package indexes that apt is configured with, and the keys in a keyring. Argument: the keyring.
set -u

echo '@@targets'
# shellcheck disable=SC2016 # apt's own variables
apt-get indextargets --no-release-info \
    --format '$(SOURCESENTRY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' 2>/dev/null
# apt does not list this one: a path, as both formats of a source write it.
echo '@@signed-by'
grep -HioE 'signed-by[=:] *[^] ]+' /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
    /etc/apt/sources.list.d/*.sources 2>/dev/null
echo '@@codename'
sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
if [ -n "${1:-}" ] && [ -s "$1" ] && command -v gpg >/dev/null; then
    echo '@@key'
    # The first fingerprint after each primary key is that key's own; those of its subkeys follow.
    gpg --batch --show-keys --with-colons "$1" 2>/dev/null |
        awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }'
fi
exit 0
