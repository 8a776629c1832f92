#!/bin/sh
# A signed apt repository: deb/repo.sh PACKAGES OUT KEY, with KEY a secret key of this user's GnuPG by its fingerprint.
# Adding a later build again keeps the earlier packages' clients going; reprepro refuses other bytes under one version.
set -eu
packages=$1 out=$2 key=${3:?name the key: make repo KEY=FINGERPRINT}
. /etc/os-release
mkdir -p "$out/conf"
cat >"$out/conf/distributions" <<END
Origin: Nabz
Label: Nabz
Codename: $VERSION_CODENAME
Architectures: amd64 arm64 armhf
Components: main
Description: Nabz for gateways, seats and the collector
SignWith: $key
END
reprepro --silent --basedir "$out" includedeb "$VERSION_CODENAME" "$packages"/*.deb
gpg --export "$key" >"$out/nabz.gpg"
echo "$out: put nabz.gpg into /usr/share/keyrings and write /etc/apt/sources.list.d/nabz.sources:"
printf 'Types: deb\nURIs: https://HOST/PATH\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/nabz.gpg\n' "$VERSION_CODENAME"
