"""Pictures as SVG: a drawing from its text, and a terminal from what a program printed in it."""

from __future__ import annotations

import re

from machine.machine import Machine

# In columns: what a telephone still shows.
WIDTH = 84
# rich's own colours and window; without its fonts, which would come from elsewhere.
RENDER = f"""\
import io, sys
from rich.console import Console
from rich.text import Text
command, printed = sys.stdin.read().split("\\n", 1)
console = Console(record=True, width={WIDTH}, file=io.StringIO(), force_terminal=True)
console.print(Text("# " + command, "bold"))
console.print(Text.from_ansi(printed))
print(console.export_svg(title="root", unique_id="terminal"))
"""
# They have versions.
COMMENTS = re.compile(r"<!.*?>\s*", re.DOTALL)
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def draw(machine: Machine, text: str) -> bytes:
    """Draw a graph as SVG, with Debian's graphviz."""
    drawn = machine.run(["dot", "-Tsvg"], input=text).stdout
    return COMMENTS.sub("", drawn).encode()


def show_terminal(machine: Machine, command: str, folder: str) -> bytes:
    """Run a command of root's in a terminal, and show both as SVG; `folder` is in its PATH."""
    line = f"PATH={folder}:$PATH; {command}"
    script = ["script", "--quiet", "--return", "--command", line, "/dev/null"]
    ended = machine.run(script, env={"SHELL": "/bin/sh"}, check=False)
    printed = ended.stdout.replace("\r\n", "\n")
    rendered = machine.run(["python3", "-c", RENDER], input=f"{command}\n{printed}").stdout
    return FONTS.sub("", COMMENTS.sub("", rendered)).encode()
