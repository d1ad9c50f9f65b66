"""Takes out of a wheel what only this build of it has, so that its bill of materials is anyone's.

    python3 -m machine.bill WHEEL

maturin writes the list of all crates into each wheel, as CycloneDX. The time, a random number and
the folder of the build are in it. Without them the same source gives the same list wherever it is
built. Prints nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

# What cargo calls a crate of this repository: its folder and, unless the folder has it, its name.
LOCAL = re.compile(r'path\+file://[^"#]*/([^/"#]+)#([^"]*)')


def find_bill(names: list[str]) -> str:
    """Return which of a wheel's files is the list of crates; `ValueError` if none or two are."""
    [bill] = [name for name in names if name.endswith(".cyclonedx.json")]
    return bill


def settle(bill: str) -> str:
    """Return a list of crates without time, random number and folders of a build."""
    content = json.loads(bill)
    content.pop("serialNumber", None)
    content["metadata"].pop("timestamp", None)

    def name(found: re.Match[str]) -> str:
        folder, rest = found.groups()
        return rest if "@" in rest else f"{folder}@{rest}"

    return LOCAL.sub(name, json.dumps(content, indent=2)) + "\n"


def settle_wheel(wheel: Path) -> None:
    """Write a wheel anew with its settled list of crates, and that list's line in RECORD.

    Raises `ValueError` if the wheel has no such list.
    """
    with zipfile.ZipFile(wheel) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    bill = find_bill([info.filename for info, _ in entries])
    draft = wheel.with_suffix(".draft")
    with zipfile.ZipFile(draft, "w") as archive:
        settled = b""
        # RECORD is a wheel's last file, so the list is known when its line is written.
        for info, content in entries:
            if info.filename == bill:
                content = settled = settle(content.decode()).encode()
            elif info.filename.endswith(".dist-info/RECORD"):
                content = record(content.decode(), bill, settled).encode()
            archive.writestr(info, content)
    draft.replace(wheel)


def record(lines: str, name: str, content: bytes) -> str:
    """Return RECORD with the line of one file for its new content."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    line = re.compile(rf"^{re.escape(name)},.*$", re.MULTILINE)
    return line.sub(f"{name},sha256={digest},{len(content)}", lines)


if __name__ == "__main__":
    settle_wheel(Path(sys.argv[1]))
