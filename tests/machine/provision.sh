#!/bin/sh
# Makes the accounts of the test machine. Runs once, as root, inside the booted machine.
set -eu

groupadd jupyterhub

# The Hub: a system account whose home holds the Hub's state.
useradd --system --create-home --home-dir /var/lib/rhea --shell /bin/bash rhea
chmod 0750 /var/lib/rhea

# People with servers. Their homes are closed to others, as on a computer that many people share.
for name in zoe wash; do
    useradd --create-home --groups jupyterhub --shell /bin/bash "$name"
    chmod 0700 "/home/$name"
    echo "$name:$name-password" | chpasswd
done

# An ordinary account that may not have a server.
useradd --create-home --shell /bin/bash mal

# An account that may have a server, but whose home was never made.
useradd --no-create-home --groups jupyterhub --shell /bin/bash nohome

# JupyterLab would start npm to look for language servers, which takes longer than all the rest.
mkdir -p /etc/jupyter
echo '{"LanguageServerManager": {"autodetect": false}}' >/etc/jupyter/jupyter_server_config.json

# On cgroup v1, nspawn makes all but systemd's own hierarchy read-only. They are the machine's own part
# of each hierarchy (warden.py), and systemd needs them for limits.
for controller in memory pids cpu cpuacct blkio; do
    if [ -e "/sys/fs/cgroup/$controller/tasks" ]; then
        mount -o remount,bind,rw "/sys/fs/cgroup/$controller"
        reexecute=yes
    fi
done
[ -z "${reexecute:-}" ] || systemctl daemon-reexec
