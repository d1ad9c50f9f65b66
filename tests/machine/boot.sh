#!/bin/sh
# Boots the machine: mounts a copy-on-write view of the host's `/` and becomes systemd-nspawn in it.
# Runs in mount and PID namespaces of its own (see warden.py), so that no mount is ever visible on the
# host and all of it is gone when this process ends.
#
# usage: boot.sh CACHE_FOLDER [OPTION OF SYSTEMD-NSPAWN …]
set -eu
cache=$1
shift

# Any existing folder will do as a place for the mounts: they hide it in this namespace alone.
base=/mnt
mount -t tmpfs -o mode=0755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"

# A target with nothing but the basic system, a system bus and logins, so that services and timers of
# the host (databases, updates) do not start in its copy.
units=$base/upper/etc/systemd/system
mkdir -p "$units"
ln -s /dev/null "$units/timers.target"
cat >"$units/test-machine.target" <<'UNIT'
[Unit]
Description=Test machine
Requires=basic.target
Wants=dbus.service systemd-logind.service systemd-user-sessions.service
After=basic.target dbus.service systemd-logind.service systemd-user-sessions.service
UNIT

# A machine's own name, which sudo must be able to resolve.
echo machine >"$base/upper/etc/hostname"
printf '127.0.0.1 localhost machine\n::1 localhost\n' >"$base/upper/etc/hosts"

mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"

# The view ends at file system borders: caches on another file system need a view of their own.
if [ "$(stat -c %d "$cache")" != "$(stat -c %d /)" ]; then
    mkdir "$base/cache-upper" "$base/cache-work"
    mount -t overlay overlay \
        -o "lowerdir=$cache,upperdir=$base/cache-upper,workdir=$base/cache-work" \
        "$base/root$cache"
fi

# @keyring: nspawn refuses session keyrings by default, a real computer does not.
exec systemd-nspawn --quiet --directory="$base/root" --register=no --keep-unit \
    --notify-ready=yes --link-journal=no --system-call-filter=@keyring \
    "$@" --boot systemd.unit=test-machine.target
