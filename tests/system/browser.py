"""`Browser`: Debian's chromium inside the test machine, driven by playwright from outside."""

from __future__ import annotations

import re
import subprocess

from playwright.sync_api import BrowserContext, Page, sync_playwright

from machine.hub import Hub
from machine.machine import Machine, MachineError

# Who sits at the browser: an account that has nothing to do with the Hub.
USER = "mal"
CHROMIUM = [
    *("/usr/bin/chromium", "--headless=new", "--remote-debugging-port=0"),
    *("--user-data-dir=/tmp/chromium", "--no-first-run", "--disable-gpu", "about:blank"),
]


class Browser:
    """A running chromium. `open_session()` gives a fresh session, with no cookies of another."""

    def __init__(self, machine: Machine) -> None:
        self._process = machine.start(
            CHROMIUM, user=USER, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
        )
        address = self._wait_for_address()
        # The driver inherits the machine's network, where chromium listens.
        with machine.network():
            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.connect_over_cdp(address)

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
        """A session with its own cookies; close it when done."""
        context = self._browser.new_context()
        context.set_default_timeout(120_000)
        return context

    def close(self) -> None:
        """End chromium and its driver."""
        self._browser.close()
        self._playwright.stop()
        self._process.terminate()
        self._process.wait()


def log_in(page: Page, hub: Hub, user: str, path: str = "/hub/home") -> None:
    """Log in through the Hub's form and go to `path`."""
    page.goto(f"{hub.url}/hub/login?next={path}")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(hub.password)
    page.get_by_role("button", name="Sign in").click()
