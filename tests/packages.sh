#!/bin/sh
# Debian packages that the tests drive as real parts. As root they are installed; otherwise the tests that need a
# missing one skip and say so (in CI that skip is a failure). Arguments are packages besides those of the list. Of names
# with bars between them any will do; the first that this release has is installed.
first() { # of the names of a line, by a command that succeeds for it
    for name in $(echo "$1" | tr '|' ' '); do $2 "$name" >/dev/null 2>&1 && echo "$name" && return; done
    return 1
}
missing=$(for line in $(cat "$(dirname "$0")/packages.txt") "$@"; do first "$line" "dpkg -s" >/dev/null || echo "$line"; done)
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # policy-rc.d keeps the packages' own services from starting: the tests start what they need themselves.
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && trap 'rm -f $policy' EXIT; }
    apt-get update -q >/dev/null
    wanted=$(for line in $missing; do first "$line" "apt-cache show" || echo "$line"; done)
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $wanted >/dev/null
else
    echo "not installed, so some tests will skip (Debian: apt install" $missing")"
fi
