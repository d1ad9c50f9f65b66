"""What a person sees in the browser."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from machine.hub import Hub
from system.browser import log_in


def test_zoe_logs_in_runs_a_cell_as_zoe_and_stops_her_server(hub: Hub, page: Page) -> None:
    log_in(page, hub, "zoe", "/hub/spawn")
    page.wait_for_url(re.compile(r"/user/zoe/lab"))
    # No workspace of an earlier visit, so that the launcher is what opens.
    page.goto(f"{hub.url}/user/zoe/lab?reset")
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    page.get_by_text("(ipykernel) | Idle").wait_for()
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
    page.keyboard.insert_text("import getpass; print('account', getpass.getuser())")
    page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-OutputArea-output", has_text="account zoe")
    expect(output).to_be_visible()

    page.goto(f"{hub.url}/hub/home")
    page.locator("#stop").click()
    expect(page.locator("#start")).to_have_text(re.compile("Start My Server"))
    assert hub.find_server("zoe") is None
