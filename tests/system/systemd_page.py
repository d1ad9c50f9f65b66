"""What `docs/systemd.md` says, for the tests that run it."""

from __future__ import annotations

import re
from typing import NamedTuple

from machine.installation import REPOSITORY

PAGE = (REPOSITORY / "docs/systemd.md").read_text()


class Blocks(NamedTuple):
    """The files that the page shows, in its order."""

    hub: str
    """The Hub's unit,"""
    units: str
    """the addition for servers that are units,"""
    socket: str
    """the one for a Hub in socket mode,"""
    door: str
    """and the one for the door's service, where servers are units."""


def list_blocks() -> Blocks:
    """The blocks of the page."""
    return Blocks(*re.findall(r"^```ini\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))


def place(text: str, folder: str = "{folder}", bin: str = "{bin}") -> str:
    """A unit of the page, for a Hub with this folder and these programs."""
    text = text.replace("/etc/jupyterhub/jupyterhub_config.py", f"{folder}/jupyterhub_config.py")
    assert "/var/lib/rhea" in text
    return text.replace("/var/lib/rhea", folder).replace("/opt/jupyterhub/bin", bin)
