#!/usr/bin/python3 -I
"""Root's hands and eyes in the machine while a sequence of calls is played.

python3 stagehand.py HUB ACCOUNT…

It starts a Hub as the account HUB, and a stranger of each ACCOUNT (`players.py`, which lies beside
it), and then does what it is told on stdin: a command a line, {"do": NAME, …}, where NAME is one of
`COMMANDS` and the rest its arguments. The answer is a line on stdout, {"answer": …} or
{"error": …}. When stdin closes, it ends everything.
"""

import json
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PLAYERS = str(Path(__file__).with_name("players.py"))
# A slow computer is no failure.
PATIENCE = 120
# The highest signal is the last that a stranger takes of those that it has got.
LAST = signal.SIGRTMAX
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
SUPERVISOR = "sudospawner-supervisor"
KEEPER = "sudospawner-keeper"
# What a hook leaves: see `stage.HOOK`.
DAEMON = ["sleep", "7781"]
# What a call consists of while it lasts.
PARTS_OF_CALLS = {"sudo", "sudospawner", "systemd-run", "systemctl", "journalctl"}
UNITS = "jupyter-*.service"


class Stage:
    """What a sequence acts on."""

    def __init__(self, hub: str, accounts: list[str]) -> None:
        self.accounts = {name: pwd.getpwnam(name).pw_uid for name in accounts}
        self.hub_account = hub
        # Other tests may have left these, such as a browser.
        self.before = {(one["pid"], one["ticks"]) for one in list_processes()}
        self.begin()

    def begin(self) -> None:
        """Start Hub and strangers."""
        self.hub = start_player(self.hub_account, "hub")
        self.strangers = {name: start_player(name, "stranger") for name in self.accounts}
        self.signals = {name: [] for name in self.accounts}
        for stranger in self.strangers.values():
            read_line(stranger)

    def call(self, calls: list[dict]) -> list[dict]:
        """Have the Hub make calls at once; nothing comes back if it dies before it is told."""
        self.hub.stdin.write(json.dumps(calls).encode() + b"\n")
        line = read_line(self.hub)
        if calls[0]["end"].startswith("die"):
            self.replace_hub()
        return json.loads(line) if line else []

    def replace_hub(self) -> None:
        """Kill the Hub, and start another one when its calls are over."""
        end_player(self.hub)
        wait_until(lambda: self.list_calls() == [], "the end of the calls of a dead Hub")
        self.hub = start_player(self.hub_account, "hub")

    def signal(self, account: str, pid: int, number: int) -> None:
        """Send a signal as this account."""
        os.seteuid(self.accounts[account])
        try:
            os.kill(pid, number)
        finally:
            os.seteuid(0)

    def wait_for_end(self, pid: int, ticks: int) -> None:
        """Wait until the process that began at this time has been reaped."""
        wait_until(lambda: read_ticks(pid) != ticks, f"the end of {pid}")

    def list_strangers(self) -> dict:
        """The pids of all that is no server: of each account's stranger, the Hub, and PID 1."""
        pids = {name: stranger.pid for name, stranger in self.strangers.items()}
        return pids | {self.hub_account: self.hub.pid, "root": 1}

    def list_signals(self) -> dict:
        """All signals that each stranger has got; -N if signal N has ended it."""
        for name, stranger in self.strangers.items():
            stranger.send_signal(LAST)
            while (line := read_line(stranger)) and int(line) != LAST:
                self.signals[name].append(int(line))
            if not line:
                self.signals[name].append(stranger.wait())
        return self.signals

    def list_calls(self) -> list[dict]:
        """The processes of calls, whosever they are, without those that may stay after a call."""
        found = [one for one in list_processes() if one["name"] in PARTS_OF_CALLS]
        return [one for one in found if not self.is_supervisor(one) and not is_keeper(one)]

    def is_supervisor(self, process: dict) -> bool:
        """Whether it is a supervisor, and not root's."""
        return process["line"][:1] == [SUPERVISOR] and process["uids"][0] in self.accounts.values()

    def look(self, units: bool) -> dict:
        """What there is: the processes of calls, those of each account, and units."""
        found = [one for one in list_processes() if (one["pid"], one["ticks"]) not in self.before]
        return {
            "calls": self.list_calls(),
            "processes": {
                name: [one for one in found if uid in one["uids"]]
                for name, uid in self.accounts.items()
            },
            "keepers": len([one for one in found if is_keeper(one)]),
            "daemons": len([one for one in found if is_daemon(one)]),
            "units": show_units() if units else {},
        }

    def clear(self) -> None:
        """End everything, whatever a sequence has left."""
        for player in [self.hub, *self.strangers.values()]:
            end_player(player)
        call_systemctl("stop", UNITS)
        wait_until(self.kill_processes, "the end of all that is left")
        call_systemctl("stop", UNITS)
        call_systemctl("reset-failed", UNITS)

    def kill_processes(self) -> bool:
        """Kill what is left; whether nothing was."""
        uids = {*self.accounts.values()}
        left = [
            one
            for one in list_processes()
            if uids & {*one["uids"]} or is_keeper(one) or is_daemon(one)
        ]
        left += self.list_calls()
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process["pid"], signal.SIGKILL)
        return left == []

    def reset(self) -> None:
        """End everything, and begin anew."""
        self.clear()
        self.begin()


COMMANDS = {
    *("call", "signal", "wait_for_end", "list_strangers", "list_signals", "look", "reset"),
}


def start_player(account: str, role: str) -> subprocess.Popen:
    """Start a player as an account with its groups."""
    entry = pwd.getpwnam(account)
    return subprocess.Popen(
        [sys.executable, "-I", PLAYERS, role],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=os.getgrouplist(account, entry.pw_gid),
        env=ENVIRONMENT | {"HOME": entry.pw_dir},
        cwd="/",
        bufsize=0,
    )


def end_player(process: subprocess.Popen) -> None:
    """Kill a player."""
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def read_line(player: subprocess.Popen) -> bytes:
    """A line of what a player says; nothing if it has ended."""
    ready, _, _ = select.select([player.stdout], [], [], PATIENCE)
    if not ready:
        raise TimeoutError(f"no answer within {PATIENCE} s; there is {list_processes()}")
    return player.stdout.readline()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what sends no event."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE} s: {what}; there is {list_processes()}")
        time.sleep(0.005)


def read_stat(pid: int) -> tuple[str, list[str]]:
    """A process's name, and what follows it in proc_pid_stat(5)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name, rest.split()


def read_ticks(pid: int) -> int:
    """When a process began; 0 if there is none."""
    try:
        return int(read_stat(pid)[1][19])
    except OSError:
        return 0


def list_processes() -> list[dict]:
    """All processes that have not ended, except the players."""
    found = []
    for pid in [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]:
        # It may end meanwhile.
        with suppress(OSError):
            name, rest = read_stat(pid)
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            uids = Path(f"/proc/{pid}/status").read_text().partition("\nUid:\t")[2].split()[:3]
            if rest[0] not in "ZX" and line[2:3] != [PLAYERS]:
                process = {"pid": pid, "parent": int(rest[1]), "ticks": int(rest[19])}
                found.append(
                    process | {"name": name, "line": line[:-1], "uids": [int(uid) for uid in uids]}
                )
    return found


def is_keeper(process: dict) -> bool:
    """Whether it is a keeper of root's."""
    return process["line"][:1] == [KEEPER] and process["uids"] == [0, 0, 0]


def is_daemon(process: dict) -> bool:
    """Whether it is what a hook has left."""
    return process["line"] == DAEMON and process["uids"] == [0, 0, 0]


def call_systemctl(*words: str) -> str:
    """What systemctl prints."""
    command = ["systemctl", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def show_units() -> dict:
    """The state and the main process of each unit of a server."""
    units = {}
    shown = call_systemctl("show", "--property=Id,ActiveState,MainPID", UNITS)
    for block in filter(None, shown.strip().split("\n\n")):
        fields = dict(line.split("=", 1) for line in block.splitlines())
        units[fields["Id"]] = [fields["ActiveState"], int(fields["MainPID"])]
    return units


def main() -> None:
    """Do what is told until stdin closes."""
    stage = Stage(sys.argv[1], sys.argv[2:])
    try:
        for line in sys.stdin:
            command = json.loads(line)
            do = command.pop("do")
            assert do in COMMANDS, do
            try:
                answer = {"answer": getattr(stage, do)(**command)}
            except (TimeoutError, OSError) as error:
                answer = {"error": f"{do}: {error}"}
            print(json.dumps(answer), flush=True)
    finally:
        stage.clear()


main()
