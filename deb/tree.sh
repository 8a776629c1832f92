#!/bin/sh
# Packages for another Debian release or processor, built in a tree of it: deb/tree.sh SUITE ARCH OUT [PACKAGE ...], as
# root. A foreign processor needs qemu-user-static and binfmt. What has no wheel for it is compiled in the tree: by this
# machine's cross compiler where it has one (Debian: gcc-arm-linux-gnueabihf libc6-dev-armhf-cross), and else by the
# tree's own under emulation, some fifty times slower.
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

# The cross compiler is lent to the tree at its own places, and runs there as this processor's program, not emulated.
lent=
lend() {
    [ -d "$1" ] && mkdir -p "$tree$1" || { mkdir -p "$tree$(dirname "$1")" && touch "$tree$1"; }
    mount --bind "$1" "$tree$1"
    lent="$tree$1 $lent"
}
trap 'for place in $lent; do umount "$place"; done' EXIT
triplet=$(chroot "$tree" dpkg-architecture -qDEB_HOST_GNU_TYPE)
if [ "$arch" != "$(dpkg --print-architecture)" ] && command -v "$triplet-gcc" >/dev/null; then
    for place in /lib64 "/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)" /usr/lib/gcc-cross "/usr/$triplet"; do lend "$place"; done
    for tool in gcc as ld; do lend "$(readlink -f "/usr/bin/$triplet-$tool")"; done
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) HOME=/tmp chroot "$tree" /usr/bin/python3 /src/deb/build.py \
    --wheel "/src/wheel/$(ls build/wheel)" \
    --version "$(echo "$version" | sed "s/RELEASE/$release/")" --out /src/dist "$@"
cp "$tree"/src/dist/*.deb "$out"/
