#!/usr/bin/python3 -I
"""What a user's own process can do to those that act for the user; it runs until it is killed.

stop             send SIGSTOP to each new process of the user's that is called sudospawner
kill             send SIGKILL to each
signal NUMBER    send that signal to each
limit NAME       lower that limit of each, of setrlimit(2), to nothing
take NUMBER TEXT take the descriptor with this number out of each, and write the text into it, again
                 and again; a line for each process says what came of it: "taken", or the error

Prints "ready" when it looks.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

NAME = "sudospawner"
PIDFD_GETFD = 438

libc = ctypes.CDLL(None, use_errno=True)


def take(pid: int, number: int, text: bytes) -> str:
    """Write a text into a descriptor of another process; what came of it."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        return str(error)
    descriptor = libc.syscall(PIDFD_GETFD, pidfd, number, 0)
    error = os.strerror(ctypes.get_errno())
    os.close(pidfd)
    if descriptor < 0:
        return error
    # It may be the server by now, which is the user's own.
    if read_name(pid) != NAME:
        os.close(descriptor)
        return "it has become another program"
    try:
        for _ in range(1000):
            os.write(descriptor, text)
    except OSError:
        pass
    os.close(descriptor)
    return "taken"


def read_name(pid: int) -> str:
    """What the process calls itself; nothing if it has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def list_new(seen: set[tuple[int, str]]) -> list[int]:
    """The user's processes of that name that were not there before; a pid has many lives."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry.name}/stat").read_text()
            name, _, rest = stat.partition("(")[2].rpartition(")")
            if name != NAME:
                continue
            status = Path(f"/proc/{entry.name}/status").read_text()
            uid = status.partition("\nUid:\t")[2].split()[0]
        except (OSError, IndexError):
            continue
        life = (int(entry.name), rest.split()[19])
        if uid == str(os.getuid()) and life not in seen:
            seen.add(life)
            found.append(life[0])
    return found


signals = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}
seen: set[tuple[int, str]] = set()
list_new(seen)
print("ready", flush=True)
while True:
    for pid in list_new(seen):
        if sys.argv[1] == "take":
            print(take(pid, int(sys.argv[2]), sys.argv[3].encode()), flush=True)
            continue
        try:
            if sys.argv[1] == "limit":
                resource.prlimit(pid, getattr(resource, f"RLIMIT_{sys.argv[2]}"), (0, 0))
                continue
            os.kill(pid, signals.get(sys.argv[1]) or int(sys.argv[2]))
        except OSError:
            # Root's still: to be tried again.
            seen.discard(next((life for life in seen if life[0] == pid), (0, "")))
