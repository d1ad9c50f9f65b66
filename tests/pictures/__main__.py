"""Makes the pictures of the documentation anew: `make docs`.

    python3 -m pictures [FOLDER]      by default docs/pictures

A file changes only if the picture does. Everything is taken in a disposable test machine, of which
nothing stays.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from playwright.sync_api import expect

from machine.beginning import begin_process
from machine.catalogue import cache_named
from machine.hub import Hub
from machine.installation import REPOSITORY, SUDOERS_PLACE, install_wheel
from machine.machine import Machine
from pictures.pages import CONFIGURATION, PAGES, PLACE, Stage
from pictures.texts import draw
from system.browser import Browser

PICTURES = REPOSITORY / "docs/pictures"


def write(file: Path, picture: bytes) -> None:
    """Write a picture, and say whether it is another one."""
    same = file.is_file() and file.read_bytes() == picture
    if not same:
        file.write_bytes(picture)
    said = "the same" if same else "new"
    print(f"  {file.name:<24} {said}, {len(picture) // 1024} KiB", flush=True)


def make(folder: Path) -> None:
    """Make all pictures into a folder."""
    environment = cache_named("hub6")
    with Machine() as machine:
        for text in sorted(PICTURES.glob("*.dot")):
            write(folder / f"{text.stem}.svg", draw(machine, text.read_text()))
        install_wheel(machine, environment)
        machine.run(f"mkdir {PLACE} && mount --bind {environment.path} {PLACE}")
        rules = [f"{PLACE}/bin/sudospawner", "sudoers", "--hub-user", "rhea", "--mode", "root"]
        machine.write(SUDOERS_PLACE, machine.run(rules).stdout, mode=0o440)
        with Hub(machine, environment, configuration=CONFIGURATION) as hub:
            browser = Browser(machine)
            for name, take in PAGES.items():
                write(folder / name, take(Stage(hub, browser)))
            browser.close()


def main(words: list[str]) -> None:
    """Make the pictures, and say how long it took."""
    begin_process()
    # A slow computer is no failure.
    expect.set_options(timeout=120_000)
    began = time.monotonic()
    print("==> the pictures, from a real Hub in a test machine", flush=True)
    folder = Path(words[0]) if words else PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    print(f"==> the pictures: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
