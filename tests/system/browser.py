"""`Browser`: Debian's chromium inside the test machine, driven by playwright from outside."""

from __future__ import annotations

import itertools
import re
import subprocess
import threading
from typing import ClassVar

from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from machine.hub import Hub
from machine.machine import Machine, MachineError
from system.mediator import wait_until

# Who sits at the browser: an account that has nothing to do with the Hub.
USER = "mal"
CHROMIUM = [
    *("/usr/bin/chromium", "--headless=new", "--remote-debugging-port=0"),
    *("--no-first-run", "--disable-gpu", "about:blank"),
]
# A profile that one chromium has left may be locked for the next.
PROFILES = (f"--user-data-dir=/tmp/chromium-{number}" for number in itertools.count())


class Browser:
    """A running chromium. `open_session()` gives a fresh session, with no cookies of another."""

    _connected: ClassVar[Browser | None] = None

    def __init__(self, machine: Machine) -> None:
        self._process = machine.start(
            [*CHROMIUM, next(PROFILES)],
            user=USER,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        address = self._wait_for_address()
        assert self._process.stderr is not None
        # Nobody reads what it says from now on, and it would wait once the pipe is full.
        threading.Thread(target=self._process.stderr.read, daemon=True).start()
        self._machine = machine
        self._address = address

    def _connect(self) -> None:
        """Connect to chromium, in place of another browser: a process can have one driver alone."""
        if Browser._connected is self:
            return
        if Browser._connected:
            Browser._connected._disconnect()
        # The driver inherits the machine's network, where chromium listens.
        with self._machine.network():
            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.connect_over_cdp(self._address)
        Browser._connected = self

    def _disconnect(self) -> None:
        self._browser.close()
        self._playwright.stop()
        Browser._connected = None

    def _wait_for_address(self) -> str:
        """Read chromium's messages until it tells where it listens."""
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            if found := re.search(r"DevTools listening on (ws://\S+)", line):
                return found[1]
            lines.append(line)
        raise MachineError("chromium did not start:\n" + "".join(lines))

    def open_session(self) -> BrowserContext:
        """A session with its own cookies; close it when done, and before another browser's."""
        self._connect()
        context = self._browser.new_context()
        context.set_default_timeout(120_000)
        return context

    def close(self) -> None:
        """End chromium and its driver."""
        if Browser._connected is self:
            self._disconnect()
        self._process.terminate()
        self._process.wait()


LISTENS = """
() => Boolean(require.defined("jquery")
    && require("jquery")._data(document.getElementById("stop"), "events"))
"""


def run_a_cell_and_stop(
    page: Page, url: str, code: str, expected: str | re.Pattern[str], user: str = "zoe"
) -> None:
    """While a user's server starts: run a cell in JupyterLab, see its output, stop the server."""
    page.wait_for_url(re.compile(rf"/user/{user}/lab"))
    # No workspace of an earlier visit, so that the launcher is what opens.
    page.goto(f"{url}/user/{user}/lab?reset")
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    page.get_by_text("(ipykernel) | Idle").wait_for()
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output", has_text=expected)).to_be_visible()
    page.goto(f"{url}/hub/home")
    page.locator("#stop").wait_for()
    # A click that comes before the page's script listens is lost.
    wait_until(lambda: page.evaluate(LISTENS), "the page's script", 120)
    page.locator("#stop").click()
    expect(page.locator("#start")).to_have_text(re.compile("Start My Server"))


def log_in(page: Page, hub: Hub, user: str, path: str = "/hub/home") -> None:
    """Log in through the Hub's form and go to `path`."""
    page.goto(f"{hub.url}/hub/login?next={path}")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(hub.password)
    page.get_by_role("button", name="Sign in").click()
