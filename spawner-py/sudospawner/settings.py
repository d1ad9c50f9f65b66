"""SudoSpawner's own settings, and those of LocalProcessSpawner that mean something else here."""

from __future__ import annotations

import os
import shutil
import sys

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Bool, Enum, List, Unicode

SUDOSPAWNER_PATH = Unicode(
    config=True,
    help="""The path of the mediator, exactly as in sudoers.

    The default is the `sudospawner` on PATH, else the one beside the Hub's Python.
    """,
)
MODE = Enum(
    ["user", "root", "socket"],
    "user",
    config=True,
    help="""How the mediator is called.

    "user": `sudo -u USER sudospawner`; sudoers decides who may have a server.

    "root": `sudo sudospawner --user=USER`; /etc/sudospawner/policy.toml decides, and root runs
    the policy's hooks before the server starts. This needs the policy, and the rule
    `sudospawner-root-mode` in sudoers. With the systemd launcher in the policy, `mem_limit` and
    `cpu_limit` limit the server's unit; they cannot exceed the policy's limits. With the slurm
    launcher they do so in all modes, for the server's job.

    "socket": as "root", through the socket of systemd's that `socket_path` names, and without sudo:
    the Hub needs no way to gain rights, and its unit may have NoNewPrivileges=yes. Servers are
    units or jobs: the policy's launcher is systemd or slurm.
    """,
)
SOCKET_PATH = Unicode(
    "/run/sudospawner.socket",
    config=True,
    help='The socket of sudospawner.socket, in mode "socket".',
)
SUDO_ARGS = List(
    ["-nH"],
    config=True,
    help='Arguments for sudo itself, in addition to `-u USER` in mode "user".',
)
MEDIATOR_LOG_LEVEL = Unicode(
    "INFO",
    config=True,
    help="The log level of the mediator: debug, info, warning, error or none.",
)
WAIT_FOR_PORT = Bool(
    True,
    config=True,
    help="""Whether a start waits until the server listens on its port.

    If the server ends while the start waits, the start fails at once, with the server's last
    lines of output. A port that another account has taken is also detected. Turn this off if
    `sudospawner-singleuser` is a wrapper around a container or a remote machine, where the
    server's socket does not belong to the user's account on this machine. With the slurm
    launcher in the policy, a start always waits.
    """,
)
CHECK_ON_START = Bool(
    False,
    config=True,
    help="""Whether to run `sudospawner check` once when the Hub starts, and log its findings.

    A problem is logged as an error, with the command that fixes it. The Hub starts in any case
    and does not wait for the check.
    """,
)


def is_decided_by_root(mode: str) -> bool:
    """Return whether root's policy decides in this mode, and root runs hooks and starts units."""
    return mode != "user"


def find_sudospawner() -> str:
    """Return the mediator's path if none is configured."""
    beside_python = os.path.join(os.path.dirname(sys.executable), "sudospawner")
    return shutil.which("sudospawner") or shutil.which(beside_python) or "sudospawner"


# Each server has its own spawner; repeating the warning for each would flood the log.
_warned: set[str] = set()

_SIBLING = (
    "it is ignored: the server is always the sudospawner-singleuser or jupyterhub-singleuser "
    "beside sudospawner, so that sudoers permits nothing else. To change how servers start, put a "
    "script named sudospawner-singleuser there"
)
_NOT_ENFORCED = (
    'it is not enforced: in mode "user" servers run as processes beside the Hub, and nothing '
    'limits a server as a whole. Mode "root" or "socket" with the systemd launcher in the policy '
    "enforces it"
)
_IGNORED = {
    "cmd": _SIBLING,
    "shell_cmd": _SIBLING,
    "popen_kwargs": "it is ignored: the server is not a child of the Hub",
}
_LIMITS = {"mem_limit": _NOT_ENFORCED, "cpu_limit": _NOT_ENFORCED}


def warn_about_ignored_settings(spawner: LocalProcessSpawner, *, has_limits: bool) -> None:
    """Log a warning for each setting that has no effect, once in the Hub's lifetime.

    :param spawner: has the settings, and the log for the warnings.
    :param has_limits: whether something can hold servers to limits: the policy in root mode, Slurm
        in any mode.
    """
    without_limits = {} if has_limits else _LIMITS
    for name, consequence in {**_IGNORED, **without_limits}.items():
        trait = spawner.traits()[name]
        if name in _warned or getattr(spawner, name) in (trait.default(spawner), None):
            continue
        _warned.add(name)
        spawner.log.warning("%s.%s is set, but %s.", type(spawner).__name__, name, consequence)
