#!/bin/sh
# Install Debian packages where we may; say loudly what will be skipped where we may not.
#
#   scripts/debian-packages.sh SUITE COMMAND PACKAGE...
#
# Nothing happens when COMMAND succeeds already. Otherwise the packages are installed, but only as root and only with
# apt-get. Exits 0 when COMMAND succeeds in the end and 3 when it does not: the caller decides whether that is fatal.
set -eu

if [ $# -lt 3 ]; then
    echo "usage: $0 SUITE COMMAND PACKAGE..." >&2
    exit 2
fi
suite=$1
probe=$2
shift 2

if sh -c "$probe" >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing Debian packages for $suite: $*"
    # The lists may be absent in a fresh container; refresh them only when the first try fails.
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 ||
        { apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends "$@" >/dev/null; } || true
    if sh -c "$probe" >/dev/null 2>&1; then
        exit 0
    fi
fi
{
    echo "************************************************************************"
    echo "** SKIPPED: $suite"
    echo "** It needs the Debian packages: $*"
    echo "** Install them as root:  apt-get install $*"
    echo "************************************************************************"
} >&2
exit 3
