#!/bin/sh
# Boots the machine: mounts a copy-on-write view of a root file system and becomes systemd-nspawn in it.
# Runs in mount and PID namespaces of its own (see warden.py), so that no mount is ever visible on the
# host and all of it is gone when this process ends.
#
# usage: boot.sh ROOT [OPTION OF SYSTEMD-NSPAWN …]
set -eu
lower=$1
shift

# Any existing folder will do as a place for the mounts: they hide it in this namespace alone.
base=/mnt
mount -t tmpfs -o mode=0755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"

# A target with nothing but the basic system, a system bus and logins.
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
    -o "lowerdir=$lower,upperdir=$base/upper,workdir=$base/work" "$base/root"

# @keyring: nspawn refuses session keyrings by default, a real computer does not. The last word lets
# systemd since 256 run on cgroup v1, where the host has that.
exec systemd-nspawn --quiet --directory="$base/root" --register=no --keep-unit \
    --notify-ready=yes --link-journal=no --system-call-filter=@keyring \
    "$@" --boot systemd.unit=test-machine.target SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
