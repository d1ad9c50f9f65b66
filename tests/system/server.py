#!/usr/bin/python3 -I
"""A server for tests: it does what its arguments say, one after the other.

report FILE        write what it sees of itself (environment, ids, signals, …) as JSON
say TEXT           write a line to stderr
print TEXT         write a line to stdout
sleep SECONDS      what a real server does before it listens
flood MEGABYTES    write that much to stderr, then the file `flooded` in the home
wait-for FILE      wait until the file exists
listen PORT        listen on the port of 127.0.0.1
serve PORT         listen on the port of every address
leave              leave two processes behind, in sessions of their own: one that ignores SIGTERM
eat MEGABYTES      have a child take that much memory, then the child's end in the file `eaten`
devour MEGABYTES   take that much memory itself
multiply NUMBER    start up to that many processes, then how many there were in `multiplied`
stubborn           ignore SIGINT and SIGTERM
end-at SIGNAL STATUS  end with that status when the signal comes
die SIGNAL         be killed by a signal
exit STATUS        end
Without `exit` or `die` it runs until a signal ends it.
"""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def report(file: str) -> None:
    """Write what this process sees of itself."""
    umask = os.umask(0)
    os.umask(umask)
    # The descriptor of the listing itself is closed when the links are looked at.
    descriptors = [entry for entry in list(Path("/proc/self/fd").iterdir()) if entry.exists()]
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":\t" in line
    )
    ignored = int(status["SigIgn"], 16)
    seen = {
        "argv": Path("/proc/self/cmdline").read_bytes().decode().split("\0")[2:-1],
        "env": dict(
            pair.split("=", 1)
            for pair in Path("/proc/self/environ").read_bytes().decode().split("\0")
            if pair
        ),
        "cwd": str(Path.cwd()),
        "umask": umask,
        "stdin": str(Path("/proc/self/fd/0").readlink()),
        "one_output": os.stat(1).st_ino == os.stat(2).st_ino,
        "descriptors": sorted(entry.name for entry in descriptors),
        "uids": os.getresuid(),
        "gids": os.getresgid(),
        "groups": sorted(os.getgroups()),
        # Less the two that Python itself ignores; and those behind the last standard signal.
        "ignored": ignored & 0x7FFFFFFF & ~(1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)),
        "ignored_realtime": ignored >> 31,
        "blocked": int(status["SigBlk"], 16),
        "capabilities": status["CapEff"],
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "leads_session": os.getsid(0) == os.getpid(),
    }
    Path(file).write_text(json.dumps(seen))


def leave() -> None:
    """Leave two processes behind that no hang-up reaches."""
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print(flush=True); time.sleep(9999)"
    )
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", deaf], start_new_session=True, stdout=subprocess.PIPE
    )
    child.stdout.readline()
    subprocess.Popen(["sleep", "9999"], start_new_session=True)


def wait_for(file: str) -> None:
    """Wait until a file exists."""
    while not Path(file).exists():
        time.sleep(0.01)


def flood(megabytes: str) -> None:
    """Write much to stderr, and note it when that is done."""
    line = b"x" * 99 + b"\n"
    for _ in range(int(megabytes) * 10_000):
        os.write(2, line)
    Path("flooded").write_text(megabytes)


def eat(megabytes: str) -> None:
    """Have a child take much memory, and note how it ended."""
    code = f"x = bytearray({megabytes} << 20); print(len(x))"
    child = subprocess.run([sys.executable, "-I", "-c", code], check=False)
    Path("eaten").write_text(str(child.returncode))


def multiply(number: str) -> None:
    """Start processes until the kernel refuses, and note how many there were."""
    started = 0
    for _ in range(int(number)):
        try:
            subprocess.Popen(["sleep", "9999"])
        except OSError:
            break
        started += 1
    Path("multiplied").write_text(str(started))


sockets = []
words = iter(sys.argv[1:])
for word in words:
    if word == "report":
        report(next(words))
    elif word == "say":
        print(next(words), file=sys.stderr, flush=True)
    elif word == "print":
        print(next(words), flush=True)
    elif word == "sleep":
        time.sleep(float(next(words)))
    elif word == "flood":
        flood(next(words))
    elif word == "wait-for":
        wait_for(next(words))
    elif word == "listen":
        sockets.append(socket.create_server(("127.0.0.1", int(next(words)))))
    elif word == "serve":
        sockets.append(socket.create_server(("", int(next(words)))))
    elif word == "leave":
        leave()
    elif word == "stubborn":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif word == "end-at":
        number, status = int(next(words)), int(next(words))
        signal.signal(number, lambda *_, status=status: os._exit(status))
    elif word == "eat":
        eat(next(words))
    elif word == "devour":
        print(len(bytearray(int(next(words)) << 20)))
    elif word == "multiply":
        multiply(next(words))
    elif word == "die":
        os.kill(os.getpid(), int(next(words)))
    elif word == "exit":
        sys.exit(int(next(words)))
if "stubborn" not in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
while True:
    signal.pause()
