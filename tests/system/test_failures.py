"""What people see of a server that dies: its own words, as text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from machine.hub import Hub
from system.browser import log_in

MARKUP = "<script>window.owned = true</script>"
DIES_AT_ONCE = f"""#!/bin/sh
echo '{MARKUP}' >&2
exit 3
"""

# Notes when it dies, then dies of an import two seconds after its start.
DIES_LATER = """#!/usr/bin/python3
import time
time.sleep(2)
with open("died-at", "w") as note:
    note.write(str(time.time()))
import module_that_is_not_installed
"""


@pytest.fixture
def replace_server(hub: Hub) -> Iterator[Callable[[str], None]]:
    """Lets a test put another program in the place of the server of this Hub."""
    place = hub.environment.bin / "sudospawner-singleuser"
    yield lambda program: hub.machine.write(place, program, mode=0o755)
    hub.machine.run(["rm", "--force", place])


def assert_markup_is_text(page: Page) -> None:
    """Wait until the markup is readable on the page, and see that it was not executed."""
    expect(page.locator("body")).to_contain_text(MARKUP)
    assert page.evaluate("window.owned") is None


def test_markup_of_a_dying_server_is_text_on_its_users_page(
    hub: Hub, page: Page, replace_server: Callable[[str], None]
) -> None:
    replace_server(DIES_AT_ONCE)
    log_in(page, hub, "zoe", "/hub/spawn")
    assert_markup_is_text(page)
    # The page that is shown to whoever comes back later.
    page.goto(f"{hub.url}/hub/spawn-pending/zoe")
    assert_markup_is_text(page)


def test_markup_of_a_dying_server_is_text_on_the_admins_pages(
    hub: Hub, page: Page, replace_server: Callable[[str], None]
) -> None:
    replace_server(DIES_AT_ONCE)
    log_in(page, hub, "rhea", "/hub/admin")
    row = page.get_by_test_id("user-row-zoe")
    row.get_by_role("button", name="Start Server").click()
    expect(page.get_by_text("Failed to start server")).to_be_visible()
    assert page.evaluate("window.owned") is None
    page.goto(f"{hub.url}/hub/spawn/zoe")
    assert_markup_is_text(page)


def test_a_server_that_cannot_import_shows_its_error_as_it_dies(
    hub: Hub,
    page: Page,
    replace_server: Callable[[str], None],
    artifacts: Path,
    record_property: Callable[[str, object], None],
) -> None:
    replace_server(DIES_LATER)
    log_in(page, hub, "zoe", "/hub/spawn")
    expect(page.locator("body")).to_contain_text(
        re.compile("No module named 'module_that_is_not_installed'")
    )
    seconds = time.time() - float(hub.machine.read("/home/zoe/died-at"))
    page.screenshot(path=artifacts / f"{hub.environment.name}-import-error.png", full_page=True)
    print(f"{hub.environment.name}: on the page {seconds:.2f} s after the death")
    record_property("seconds_from_death_to_page", seconds)
    # An idle computer needs a fraction of a second; the Hub's own time limit would be 60 s.
    assert seconds < 50
