"""Small programs in place of a mediator, and a spawner that calls them directly."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

from sudospawner import SudoSpawner


class Programs:
    """Writes executable scripts into a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str, name: str = "mediator") -> str:
        """Write a Python program; `folder` in it is the test's own folder."""
        path = self.folder / name
        prelude = (
            f"#!{sys.executable}\n"
            "import contextlib, json, os, pathlib, signal, subprocess, sys, time\n"
            f"folder = pathlib.Path({str(self.folder)!r})\n"
        )
        path.write_text(prelude + text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def requests(self) -> list[dict]:
        """What `record()` has recorded."""
        path = self.folder / "requests"
        return [json.loads(line) for line in path.read_text().splitlines()]


#: Begins a program that appends its request to the file that `Programs.requests` reads.
RECORD = """
request = json.load(sys.stdin)
with open(folder / "requests", "a") as file:
    file.write(json.dumps(request) + "\\n")
"""


class UnderTest(SudoSpawner):
    """A spawner for the test's own account, that calls the mediator directly."""

    def get_env(self):
        return {**self.environment, "PATH": os.environ["PATH"]}

    def get_args(self):
        return [f"--port={self.port}"]

    def do(self, action, **kwargs):
        return super().do(action, _skip_sudo=True, **kwargs)
