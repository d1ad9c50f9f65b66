"""What the class is configured with."""

from __future__ import annotations

import os
import shutil
import sys

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Bool, Enum, List, Unicode, default


class ConfiguredSpawner(LocalProcessSpawner):
    """The settings of ``SudoSpawner``, beside those of every spawner."""

    sudospawner_path = Unicode(
        config=True,
        help="""The path of the mediator, exactly as sudoers names it.

        By default the `sudospawner` that PATH finds, else the one beside the Hub's Python.
        """,
    )
    mode = Enum(
        ["user", "root"],
        "user",
        config=True,
        help="""Who the mediator is called as.

        "user": `sudo -u USER sudospawner`; sudoers decides who may have a server.

        "root": `sudo sudospawner --user=USER`; /etc/sudospawner/policy.toml decides, and root runs
        the hooks of that policy before the server starts. Needs the policy, and the rule
        `sudospawner-root-mode` in sudoers. Where the policy has the systemd launcher, `mem_limit`
        and `cpu_limit` are limits of the server's unit: at most those of the policy.
        """,
    )
    sudo_args = List(
        ["-nH"],
        config=True,
        help='Arguments for sudo itself, beside `-u USER` where the mode is "user".',
    )
    mediator_log_level = Unicode(
        "INFO",
        config=True,
        help="How much the mediator logs: debug, info, warning, error or none.",
    )
    wait_for_port = Bool(
        True,
        config=True,
        help="""Whether a start waits until the server listens on its port.

        The server's end while it waits fails the start at once, with its last lines of output;
        and a port that another account has taken is noticed. Turn it off where
        `sudospawner-singleuser` is a wrapper round a container or a remote machine, whose socket
        does not belong to the user's account here.
        """,
    )

    check_on_start = Bool(
        False,
        config=True,
        help="""Whether `sudospawner check` is run once when the Hub starts, and logged.

        A problem is an error in the Hub's log, with the command that mends it. The Hub starts in
        any case, and does not wait.
        """,
    )

    @default("sudospawner_path")
    def _find_sudospawner(self) -> str:
        beside_python = os.path.join(os.path.dirname(sys.executable), "sudospawner")
        return shutil.which("sudospawner") or shutil.which(beside_python) or "sudospawner"
