#!/bin/sh
# Packages for another Debian release or processor, built in a tree of it: deb/tree.sh SUITE ARCH OUT [PACKAGE ...], as
# root. A foreign processor needs qemu-user-static and binfmt. What has no wheel for it is compiled there.
set -eu
suite=$1 arch=$2 out=$3
shift 3
root=$(cd "$(dirname "$0")/.." && pwd)
tree=${NABZ_BUILD_TREE:-$root/build/trees/$suite-$arch}
needed=python3,python3-venv,python3-pip,python3-dev,python3-setuptools,python3-wheel,gcc,libc6-dev,libffi-dev,ca-certificates,dpkg-dev
[ -x "$tree/usr/bin/python3" ] || debootstrap --arch="$arch" --variant=minbase --include="$needed" "$suite" "$tree"
cd "$root"
version=$(.venv/bin/python -c 'import sys; sys.path.insert(0, "deb"); import build; print(build.version("RELEASE"))')
rm -rf "$tree/src" build/wheel
.venv/bin/python -m hatchling build -t wheel -d build/wheel >/dev/null 2>&1
mkdir -p "$tree/src/agent" "$out"
cp -r deb requirements systemd docs build/wheel "$tree/src/"
cp agent/__init__.py "$tree/src/agent/"
# This machine's own ways to the package index, and whom it trusts.
for place in /etc/pip.conf /etc/xdg/pip /etc/ssl/certs/ca-certificates.crt /etc/resolv.conf; do
    [ -e "$place" ] && mkdir -p "$tree$(dirname "$place")" && cp -rL "$place" "$tree$(dirname "$place")/"
done
release=$(. "$tree/usr/lib/os-release" && echo "${VERSION_ID:-$VERSION_CODENAME}")
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) HOME=/tmp chroot "$tree" /usr/bin/python3 /src/deb/build.py \
    --wheel "/src/wheel/$(ls build/wheel)" \
    --version "$(echo "$version" | sed "s/RELEASE/$release/")" --out /src/dist "$@"
cp "$tree"/src/dist/*.deb "$out"/
