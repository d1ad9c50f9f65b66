"""`Machine`: boots the disposable test machine and runs commands in it."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from machine.caches import PATH, held_caches
from machine.catalogue import DEBIANS, NEWEST

HERE = Path(__file__).parent
CLONE_NEWNET = 0x40000000

# Enters the machine's cgroups before its namespaces, so that a command fully belongs to the
# machine: it is accounted there, and ends with the machine.
ENTER_CGROUPS = 'for f in $1; do echo 0 >"$f"; done; shift; exec "$@"'


class MachineError(Exception):
    """The machine did not boot, or a command in it failed. The text says which and why."""


class Account(NamedTuple):
    """A line of the machine's account database."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


class Machine:
    """A computer with Debian, booted with systemd, with real accounts, sudo and services.

    Its files are those of a root file system from the caches; nothing of the host is in it but the
    kernel. What it writes stays in memory, until `close()` or until this process ends for any
    reason. Needs root. Use it as a context manager, or call `boot()` and `close()`.

    `release`: the release of Debian, one of `machine.catalogue.DEBIANS`.

    `network`: "private" has only its own loopback, so ports never collide and nothing is reachable
    from outside; "host" shares the host's network. `options` are passed to systemd-nspawn, such as
    `["--bind=/dev/fuse"]`. `cgroups`: "host" is the kind that the host has, "v2" is v2 alone.
    """

    def __init__(
        self,
        network: str = "private",
        options: Sequence[str] = (),
        cgroups: str = "host",
        release: int = NEWEST,
    ) -> None:
        if network not in ("private", "host"):
            raise ValueError(f"network is 'private' or 'host', not {network!r}")
        self.release = release
        self._options = list(options)
        self._environment = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"} if cgroups == "v2" else {}
        if network == "private":
            self._options.append("--private-network")
        self._resources = ExitStack()
        self._warden: subprocess.Popen[str] | None = None
        self._accounts: dict[str, Account] = {}
        console = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._console = self._resources.enter_context(console)
        self.leader = 0
        """The host's pid of the machine's init."""

    def __enter__(self) -> Machine:
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def boot(self) -> None:
        """Boot and create the accounts; `MachineError` if that fails."""
        self._resources.enter_context(held_caches())
        root = DEBIANS[self.release].folder
        self._warden = subprocess.Popen(
            [
                *(sys.executable, str(HERE / "warden.py"), str(root)),
                *(f"--machine=sudospawner-{os.getpid()}-{id(self):x}", *self._options),
                *("--resolv-conf=off", "--timezone=off"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._console,
            text=True,
            start_new_session=True,
            env=os.environ | self._environment,
        )
        assert self._warden.stdout is not None
        answer = self._warden.stdout.readline().split()
        if answer[:1] != ["ready"]:
            raise MachineError(f"The test machine did not boot:\n{self.read_console()}")
        self.leader = int(answer[1])
        self.run(["sh", "-s"], input=(HERE / "provision.sh").read_text())

    def close(self) -> None:
        """End the machine and everything in it. Does nothing if it is closed already."""
        if self._warden is not None:
            assert self._warden.stdin is not None and self._warden.stdout is not None
            self._warden.stdin.close()
            self._warden.wait()
            self._warden.stdout.close()
            self._warden = None
        self._resources.close()

    @property
    def warden(self) -> int:
        """The pid of the process that keeps the machine, or 0 if it is not booted."""
        return self._warden.pid if self._warden else 0

    def read_console(self) -> str:
        """Return what the machine printed while it booted."""
        self._console.seek(0)
        return self._console.read()

    # Commands

    def start(
        self,
        command: Sequence[str | Path] | str,
        *,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        **popen: Any,
    ) -> subprocess.Popen[Any]:
        """Start a command in the machine and return at once.

        `command`: a list of words, or a line for `sh -c`. `user`: the account that it runs as, with
        its groups. `env`: added to a small login-like environment. `cwd`: by default the account's
        home. `popen`: arguments for `subprocess.Popen`; standard input is empty by default. The
        Popen's `pid` is an nsenter on the host: killing it does not kill the command.
        """
        account = self.look_up_account(user)
        environment = {
            "HOME": account.home,
            "USER": account.name,
            "LOGNAME": account.name,
            "SHELL": account.shell,
            "PATH": PATH,
            "LANG": "C.UTF-8",
            **(env or {}),
        }
        words = ["sh", "-c", command] if isinstance(command, str) else [str(w) for w in command]
        folder = str(cwd) if cwd is not None else account.home
        become = [
            *("/usr/bin/setpriv", f"--reuid={account.uid}", f"--regid={account.gid}"),
            *("--init-groups", "--"),
        ]
        enter = ["/usr/bin/env", "--default-signal", f"--chdir={folder}"]
        command = [*enter, *([] if user == "root" else become), *words]
        return self._start(command, environment, {"stdin": subprocess.DEVNULL, **popen})

    def _start(
        self, command: list[str], environment: dict[str, str], popen: dict[str, Any]
    ) -> subprocess.Popen[Any]:
        """Start a command of root's in the machine with exactly this environment."""
        return subprocess.Popen(
            [
                *("/bin/sh", "-c", ENTER_CGROUPS, "enter", " ".join(self._list_cgroup_files())),
                *("/usr/bin/nsenter", f"--target={self.leader}", "--all", "--"),
                *command,
            ],
            env=environment,
            **popen,
        )

    def run(
        self,
        command: Sequence[str | Path] | str,
        *,
        user: str = "root",
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a command in the machine and return its exit status, stdout and stderr.

        Command, user, env and cwd are as in `start`. The output is bytes if `input` is, else text.
        Raises `MachineError` if `check` is set and the exit status is not 0, and
        `subprocess.TimeoutExpired` after `timeout` seconds.
        """
        process = self.start(
            command,
            user=user,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **({} if isinstance(input, bytes) else {"encoding": "utf-8", "errors": "replace"}),
        )
        try:
            output, errors = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if check and process.returncode != 0:
            shown = command if isinstance(command, str) else shlex.join(str(w) for w in command)
            raise MachineError(
                f"{shown!r} as {user} ended with status {process.returncode}:\n{output}{errors}"
            )
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def look_up_account(self, name: str) -> Account:
        """Return the account of that name in the machine; `MachineError` if there is none."""
        if name == "root":
            return Account("root", 0, 0, "/root", "/bin/bash")
        if name not in self._accounts:
            line = self.run(["getent", "passwd", name]).stdout.rstrip("\n")
            _, _, uid, gid, _, home, shell = line.split(":")
            self._accounts[name] = Account(name, int(uid), int(gid), home, shell)
        return self._accounts[name]

    def _list_cgroup_files(self) -> Iterator[str]:
        """Yield the files through which a process enters the cgroups of the machine's init."""
        top = Path("/sys/fs/cgroup")
        for line in Path(f"/proc/{self.leader}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            # v1: a folder named after the controllers; v2: the top, or `unified` beside v1.
            folder = top / (controllers.removeprefix("name=") or "unified")
            if controllers == "cpuset":
                continue
            if not folder.is_dir():
                folder = top
            yield f"{folder}{path}/cgroup.procs"

    # Files

    def read(self, path: str | Path) -> str:
        """Return the text of a file in the machine; `MachineError` if it cannot be read."""
        return self.run(["cat", path]).stdout

    def write(
        self, path: str | Path, content: str | bytes, *, owner: str = "root", mode: int = 0o644
    ) -> None:
        """Write a file in the machine and create its folders. `owner`: an account and its group."""
        account = self.look_up_account(owner)
        data = content.encode() if isinstance(content, str) else content
        target = shlex.quote(str(path))
        self.run(
            f"mkdir -p $(dirname {target}) && cat >{target} && "
            f"chown {account.uid}:{account.gid} {target} && chmod {mode:o} {target}",
            input=data,
        )

    def copy_in(self, folder: Path, place: str) -> None:
        """Copy a folder of the host to `place` in the machine: root's, and readable by all."""
        pack = ["tar", "--create", f"--directory={folder}", "--owner=root", "--group=root"]
        packed = subprocess.run(
            [*pack, "--mode=a+rX", "."], stdout=subprocess.PIPE, check=True
        ).stdout
        self.run(["mkdir", "--parents", place])
        self.run(["tar", "--extract", f"--directory={place}"], input=packed)

    # Network

    @contextmanager
    def network(self) -> Iterator[None]:
        """Move the calling thread, and what it starts, to the machine's network in this context."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            Path("/proc/thread-self/ns/net").open() as ours,
            Path(f"/proc/{self.leader}/ns/net").open() as theirs,
        ):

            def enter(namespace: int) -> None:
                if libc.setns(namespace, CLONE_NEWNET) != 0:
                    error = ctypes.get_errno()
                    raise OSError(error, f"setns: {os.strerror(error)}")

            enter(theirs.fileno())
            try:
                yield
            finally:
                enter(ours.fileno())
