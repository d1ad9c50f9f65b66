"""`Mediator`: the binary in a folder of its own in the machine, called as the Hub calls it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from machine.machine import Machine

SERVER = Path(__file__).with_name("server.py")
OWN = {"HOME": "/home/zoe", "USER": "zoe", "LOGNAME": "zoe", "SHELL": "/bin/bash"}
"""What zoe's server has from her account, if request and policy say nothing else."""


class Answer(NamedTuple):
    """What came back from one call."""

    reply: dict[str, Any]
    events: list[dict[str, Any]]
    status: int
    log: str


class Mediator:
    """A mediator with `server.py` as the server beside it, and sudoers that let rhea call it."""

    caller = "rhea"
    """The account that runs the words of `list_words`."""

    def __init__(self, machine: Machine, folder: str) -> None:
        """Use the mediator that is, or will be, at `folder`/sudospawner."""
        self.machine = machine
        self.folder = Path(folder)
        self.path = self.folder / "sudospawner"
        # sudo passes over files with a dot in their name.
        place = str(self.path).strip("/").replace("/", "-").replace(".", "-")
        self._rules = Path("/etc/sudoers.d") / place

    def install_binary(self, binary: Path) -> None:
        """Lay it there as docs/sudo.md says: to be executed by all, and read by root alone.

        The programs that it executes go beside it.
        """
        self.machine.run(["install", "-D", "--mode=0711", binary, self.path])
        beside = {"slurm": "0711", "session": "0711", "setup": "0755", "door": "0755"}
        for name, mode in beside.items():
            place = self.path.with_name(f"sudospawner-{name}")
            self.machine.run(["install", f"--mode={mode}", binary.with_name(place.name), place])

    def permit(self, runas: str = "%jupyterhub", more: str = "") -> None:
        """Let rhea call it as these accounts; `more` are further lines of sudoers."""
        rule = f"rhea ALL=({runas}) NOPASSWD: {self.path}\n{more}"
        self.machine.write(self._rules, rule, mode=0o440)
        self.machine.run(["visudo", "--check", "--file", self._rules])

    def permit_as_printed(self, *options: str) -> None:
        """Let call it whom the rules permit that it prints itself."""
        rules = self.machine.run([self.path, "sudoers", *options]).stdout
        self.machine.write(self._rules, rules, mode=0o440)
        self.machine.run(["visudo", "--check", "--file", self._rules])

    def forbid(self) -> None:
        """Take the rules of sudo away again, so that no later test runs by them."""
        self.machine.run(["rm", self._rules])

    def put_server(
        self, program: str | None = None, *, name: str = "sudospawner-singleuser"
    ) -> None:
        """Lay a server beside the mediator: `server.py`, or another program."""
        self.machine.write(self.folder / name, program or SERVER.read_text(), mode=0o755)

    def start(
        self,
        request: dict[str, Any] | str,
        *,
        target: str = "zoe",
        options: list[str] | None = None,
    ) -> subprocess.Popen[str]:
        """Begin a call: stdout and stderr are pipes, the request is written, stdin is closed."""
        process = self.machine.start(
            [*self.list_words(target), *(options or [])],
            user=self.caller,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        # What refuses the command line reads no request, and may have ended by now.
        with suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(request if isinstance(request, str) else json.dumps(request))
        process.stdin = None
        return process

    def list_words(self, target: str) -> list[str | Path]:
        """How the Hub calls it for this account."""
        return ["sudo", "-nH", "-u", target, self.path]

    def call(self, request: dict[str, Any] | str, **how: Any) -> Answer:
        """Make a call and take its reply, with what stderr has by then."""
        process = self.start(request, **how)
        assert process.stdout is not None and process.stderr is not None
        lines = [json.loads(line) for line in process.stdout.read().splitlines()]
        status = process.wait()
        # A server holds the other end of stderr: what is not there yet will never be asked for.
        log = read_what_is_there(process.stderr.fileno())
        process.stdout.close()
        process.stderr.close()
        return Answer(lines[-1] if lines else {}, lines[:-1], status, log)

    def spawn(self, *args: str, env: dict[str, str] | None = None, **fields: Any) -> Answer:
        """Spawn the server with these arguments; `target` is the account, zoe if not given."""
        target = fields.pop("target", "zoe")
        request = {"action": "spawn", "args": list(args), "env": env or {}, **fields}
        return self.call(request, target=target)

    def stop(self, spawned: Answer, **fields: Any) -> dict[str, Any]:
        """Stop what was spawned."""
        request = {"action": "stop", "pid": spawned.reply["pid"], "interrupt_seconds": 0, **fields}
        return self.call(request).reply

    def take_report(self, *args: str, **fields: Any) -> dict[str, Any]:
        """What a server of zoe's with these arguments sees of itself; it is stopped again."""
        file = "/home/zoe/seen.json"
        spawned = self.spawn("report", file, *args, **fields)
        assert spawned.reply["ok"], spawned
        wait_for_file(self, file)
        seen: dict[str, Any] = json.loads(self.machine.read(file))
        self.machine.run(["rm", file])
        assert self.stop(spawned, unit=spawned.reply.get("unit", ""))["alive"] is False
        return seen

    def list_processes(self, user: str = "zoe") -> list[str]:
        """The command lines of an account's processes that have not ended."""
        ps = ["ps", "--user", user, "--format", "stat=,args="]
        lines = self.machine.run(ps, check=False).stdout.splitlines()
        return [line.split(maxsplit=1)[1] for line in lines if not line.startswith("Z")]

    def kill_processes(self, user: str = "zoe") -> None:
        """End every process of an account, for a test that failed to."""
        pids = self.machine.run(["ps", "--user", user, "--format", "pid="], check=False).stdout
        for pid in pids.split():
            self.machine.run(["kill", "-KILL", pid], check=False)


class RootMediator(Mediator):
    """The same in root mode, with a policy and a folder of hooks."""

    POLICY = Path("/etc/sudospawner/policy.toml")
    HOOKS = Path("/etc/sudospawner/roothooks.d")

    @classmethod
    def install(cls, machine: Machine, folder: str, binary: Path) -> Self:
        """Lay it into a folder of its own, with a server, a rule of sudo and a policy."""
        mediator = cls(machine, folder)
        mediator.install_binary(binary)
        mediator.put_server()
        mediator.permit()
        mediator.set_policy()
        return mediator

    def permit(self, runas: str = "root", more: str = "") -> None:
        """Let rhea call it as root; `more` are further lines of sudoers."""
        super().permit(runas, more)

    def list_words(self, target: str) -> list[str | Path]:
        """How the Hub calls it for this account."""
        return ["sudo", "-n", self.path, f"--user={target}"]

    def set_policy(self, more: str = "") -> None:
        """Install a policy for rhea and the group jupyterhub; `more` are further lines of it."""
        text = f'hub_users = ["rhea"]\n{more}\n'
        if "[targets]" not in more:
            text += '[targets]\ngroups = ["jupyterhub"]\n'
        self.machine.write(self.POLICY, text)

    def add_hook(self, name: str, program: str, *, owner: str = "root", mode: int = 0o755) -> None:
        """Put a hook into the folder of hooks."""
        self.machine.write(self.HOOKS / name, program, owner=owner, mode=mode)

    def remove_all(self) -> None:
        """Remove policy, hooks and the rules of sudo."""
        self.machine.run(["rm", "-rf", self.POLICY.parent])
        self.forbid()


def read_what_is_there(descriptor: int) -> str:
    """Everything that can be read from a pipe now, without waiting for more."""
    os.set_blocking(descriptor, False)
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except BlockingIOError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode(errors="replace")


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for what sends no event; fail with `what` when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"This did not come within {seconds} s: {what}"
        time.sleep(0.02)


def wait_for_file(mediator: Mediator, path: str, seconds: float = 60) -> None:
    """Wait until a file of the machine has some content."""
    has_content = ["test", "-s", path]
    wait_until(
        lambda: mediator.machine.run(has_content, check=False).returncode == 0,
        f"the file {path}",
        seconds,
    )
