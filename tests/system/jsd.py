"""`Helper`: a setuid `jsd-helper` in the machine, called as SystemdSpawner calls it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from machine.machine import Machine
from system.mediator import wait_until

HERE = Path(__file__).parent
POLICY = "/etc/sudospawner/policy.toml"
SERVER = "/opt/jsd/bin/jupyterhub-singleuser"
UNIT = "jsu-zoe"


class Helper:
    """The program at `path`, setuid and for rhea's group alone, and a server that it may start.

    The server, `server.py`, does as its arguments say. The policy is for rhea and the group
    jupyterhub. Every call is rhea's if no other account is named.
    """

    path = "/usr/local/bin/jsd-helper"

    def __init__(self, machine: Machine, program: Path) -> None:
        """Install `program`, a path in the machine."""
        self.machine = machine
        install = ["install", "--owner=root", "--group=rhea", "--mode=4750", program, self.path]
        machine.run(install)
        machine.write(SERVER, (HERE / "server.py").read_text(), mode=0o755)
        machine.run(["install", "--directory", "--owner=rhea", "--group=rhea", "/run/jhub"])

    def set_policy(self, more: str = "") -> None:
        """Install a policy; `more` are further lines of it."""
        text = f'hub_users = ["rhea"]\n{more}\n'
        if "[targets]" not in more:
            text += '[targets]\ngroups = ["jupyterhub"]\n'
        self.machine.write(POLICY, text)

    def list_words(
        self, *options: str, args: Sequence[str] = (), **changes: str | None
    ) -> list[str]:
        """The command that starts a unit for zoe, as SystemdSpawner has it.

        `options` stand before the program; `changes` replace the values of `unit`, `directory`,
        `uid`, `gid` and `program`, or leave the option out where they are None.
        """
        zoe = self.machine.look_up_account("zoe")
        values = {
            "unit": UNIT,
            "directory": zoe.home,
            "uid": str(zoe.uid),
            "gid": str(zoe.gid),
            "program": SERVER,
            **changes,
        }
        words = ["systemd-run"]
        if values["unit"] is not None:
            words += ["--unit", values["unit"]]
        if values["directory"] is not None:
            words += ["--working-directory", values["directory"]]
        words += [f"--{name}={values[name]}" for name in ("uid", "gid") if values[name] is not None]
        return [*words, *options, *([values["program"]] if values["program"] else []), *args]

    def call(self, words: Sequence[str], **how: Any) -> CompletedProcess[str]:
        """Call it; how it ended is in what is returned."""
        return self.machine.run([self.path, *words], **{"user": "rhea", "check": False, **how})

    def start(self, *options: str, **how: Any) -> dict[str, Any]:
        """Start a server that reports what it sees of itself, and return that."""
        report = "/home/zoe/jsd-report"
        self.machine.run(["rm", "-f", report])
        args = ["report", report + ".new", *how.pop("args", ())]
        # The report is there at once and whole, or not yet.
        rename = f"while [ ! -s {report}.new ]; do sleep 0.05; done; mv {report}.new {report}"
        run = self.call(self.list_words(*options, args=args, **how))
        assert run.returncode == 0, run.stderr
        self.machine.run(rename, timeout=60)
        return json.loads(self.machine.read(report))

    def write_variables(self, variables: dict[str, str], unit: str = UNIT) -> str:
        """Write an EnvironmentFile as SystemdSpawner does, and return the option that names it."""
        path = f"/run/jhub/{unit}/{unit}.env"
        lines = [f"{name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
        write = f"mkdir -p -m 700 {Path(path).parent} && cat >{path} && chmod 400 {path}"
        self.machine.run(write, user="rhea", input="\n".join([*lines, ""]))
        return f"--property=EnvironmentFile={path}"

    def show(self, *properties: str, unit: str = UNIT) -> dict[str, str]:
        """Properties of a unit, as systemd has them."""
        words = [f"--property={name}" for name in properties]
        shown = self.machine.run(["systemctl", "show", f"{unit}.service", *words]).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def is_running(self, unit: str = UNIT) -> bool:
        """Whether a unit is active."""
        return self.show("ActiveState", unit=unit)["ActiveState"] == "active"

    def remove_all(self) -> None:
        """End every server, and remove the policy and what the Hub wrote."""
        machine = self.machine
        machine.run("systemctl stop 'jsu-*.service'; systemctl reset-failed 'jsu-*'", check=False)
        machine.run(f"rm -rf {Path(POLICY).parent} /run/jhub/* /home/zoe/jsd-report*")
        wait_until(lambda: not self.is_running(), "the end of the unit")
