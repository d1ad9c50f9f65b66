#!/bin/sh
# Runs a command in a root file system, for the builds of the caches. Runs in mount and PID namespaces of
# its own, so that no mount is ever visible on the host.
#
# usage: chroot.sh ROOT COMMAND [WORD …]
set -eu
root=$1
shift

mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"

# How the host reaches the registries: names, certificates, and the settings of pip and npm.
for path in /etc/resolv.conf /etc/hosts /etc/ssl /etc/pip.conf /etc/npmrc \
    "$HOME/.npmrc" "$HOME/.pip" "$HOME/.config/pip" "${PIP_FIND_LINKS:-}"; do
    place=$root$path
    if [ -d "$path" ]; then
        mkdir -p "$place"
    elif [ -f "$path" ]; then
        mkdir -p "${place%/*}"
        [ -e "$place" ] || : >"$place"
    else
        continue
    fi
    mount --bind "$path" "$place"
    # A package that has the same files must not change the host's.
    mount -o remount,bind,ro "$place"
done

exec chroot "$root" "$@"
