"""What servers do to a real Hub: it goes on for all the others."""

from __future__ import annotations

import re
import time

from machine.hub import Hub
from machine.kernel import Kernel

# A cell that leaves a process that writes to where the server itself logs, without end.
FLOOD_THE_LOG = """
import os, subprocess
log = open(f"/proc/{os.getppid()}/fd/2", "w")
print(subprocess.Popen(["yes", "x"], stdout=log, start_new_session=True).pid)
"""
FLOODED = ("", "second", "third")


def count_lines(log: str, pattern: str) -> int:
    """How many lines of a log match."""
    return len(re.findall(pattern, log, re.MULTILINE))


def test_servers_that_flood_their_logs_keep_nobody_from_starting_one(hub: Hub) -> None:
    for name in FLOODED:
        hub.start_server("zoe", name)
    began = time.monotonic()
    for name in FLOODED:
        with Kernel(hub, "zoe", name) as kernel:
            assert int(kernel.run(FLOOD_THE_LOG)) > 1
    hub.start_server("wash")
    with Kernel(hub, "wash") as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    answers = []
    for _ in range(20):
        asked = time.monotonic()
        hub.request("GET", "/hub/api/")
        answers.append(time.monotonic() - asked)
    print(f"the Hub's slowest answer of 20: {max(answers):.3f} s")
    assert max(answers) < 5
    hub.stop_server("wash")
    for name in FLOODED:
        hub.stop_server("zoe", name)
    log, seconds = hub.read_log(), time.monotonic() - began
    lines = count_lines(log, r"\] zoe(?::\w+)?: x$")
    assert 1000 <= lines <= len(FLOODED) * (1000 + 200 * seconds)
    assert count_lines(log, r"\] zoe(?::\w+)?: \d+ lines of this server's log were left out") > 0
