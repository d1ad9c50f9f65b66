"""Servers with files: how tests ask for them, find them, and look for their text elsewhere."""

from __future__ import annotations

from typing import Any

from machine.machine import Machine
from system.mediator import Answer, Mediator

SECRET = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
FILES = {
    "server.key": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n",
    "server.crt": "-----BEGIN CERTIFICATE-----\n",
}
PORT = 4800
PLACE = "/home/zoe/.local/state/sudospawner"
# What everybody, or root, can see of a running system: the pattern is in no command line.
LOOK = """
grep -alsFf /run/secret /proc/[0-9]*/cmdline /proc/[0-9]*/environ
journalctl --sync; journalctl --no-pager --output=cat --all | grep -Ff /run/secret
systemctl show '*' | grep -Ff /run/secret
grep -rlsFf /run/secret /run/systemd /var/log /tmp
true
"""


def start_with_files(
    mediator: Mediator, *args: str, name: str = "", port: int = PORT, **fields: Any
) -> Answer:
    """Start a server of zoe's that listens, and then does what `args` say; it has `FILES`."""
    request = {
        "env": {"JUPYTERHUB_SSL_KEYFILE": "{files}/server.key", "HOME": "/home/zoe"},
        "files": FILES,
        "server_name": name,
        "wait": {"port": port, "seconds": 60},
    }
    words = ["listen", str(port), *args, "--certfile={files}/server.crt"]
    answer = mediator.spawn(*words, **{**request, **fields})
    answer.reply["name"] = name
    return answer


def end(mediator: Mediator, spawned: Answer) -> dict[str, Any]:
    """Stop a server that `start_with_files` has started."""
    fields = {"server_name": spawned.reply["name"], "unit": spawned.reply.get("unit", "")}
    return mediator.stop(spawned, **fields)


def find_folder(machine: Machine, spawned: Answer) -> str:
    """The folder of a running server, as its environment has it."""
    pid = spawned.reply["pid"]
    variables = machine.read(f"/proc/{pid}/environ").split("\0")
    [key] = [one for one in variables if one.startswith("JUPYTERHUB_SSL_KEYFILE=")]
    return key.removeprefix("JUPYTERHUB_SSL_KEYFILE=").removesuffix("/server.key")


def list_folders(machine: Machine) -> list[str]:
    """All folders of servers' files that there are."""
    find = "find /home /run/user /srv -path '*/sudospawner/files-*' -prune 2>/dev/null; true"
    return machine.run(find).stdout.split()


def find_secret(machine: Machine, secret: str = SECRET) -> str:
    """Where something besides the files shows this part of the key; empty if nothing does."""
    machine.write("/run/secret", secret, mode=0o600)
    try:
        return machine.run(LOOK).stdout
    finally:
        machine.run(["rm", "/run/secret"])
