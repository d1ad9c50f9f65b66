"""What a person sees in the browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from machine.hub import Hub
from system.browser import log_in, run_a_cell_and_stop
from system.mediator import wait_until

MARKUP = "<script>window.owned = true</script>"
GO_ON = "/run/go-on"
# A server whose environment takes its time, and says so.
LOADS = f"""#!/bin/sh
echo '{MARKUP} is loading' >&2
until [ -e {GO_ON} ]; do sleep 0.05; done
exec jupyterhub-singleuser "$@"
"""


@pytest.fixture
def loading_hub(hub: Hub) -> Iterator[Hub]:
    """The Hub, with a server that loads until GO_ON is there."""
    place = hub.environment.bin / "sudospawner-singleuser"
    program = LOADS.replace("jupyterhub-singleuser", f"{hub.environment.bin}/jupyterhub-singleuser")
    hub.machine.write(place, program, mode=0o755)
    yield hub
    hub.machine.run(["rm", "--force", place, GO_ON])


def test_zoe_logs_in_runs_a_cell_as_zoe_and_stops_her_server(hub: Hub, page: Page) -> None:
    log_in(page, hub, "zoe", "/hub/spawn")
    code = "import getpass; print('account', getpass.getuser())"
    run_a_cell_and_stop(page, hub.url, code, "account zoe")
    hub.wait_until_gone("zoe")


def find_place_of_the_bar(page: Page) -> int:
    """How far the bar is, in per cent."""
    return int(page.locator("#progress-bar").get_attribute("aria-valuenow") or 0)


def test_a_line_of_a_server_is_on_its_users_page_before_it_is_up_as_text(
    loading_hub: Hub, page: Page, artifacts: Path
) -> None:
    machine = loading_hub.machine
    log_in(page, loading_hub, "zoe", "/hub/spawn")
    expect(page.locator("#progress-log")).to_contain_text(f"> {MARKUP} is loading")
    assert page.evaluate("window.owned") is None
    assert 10 <= find_place_of_the_bar(page) <= 95
    assert (loading_hub.find_server("zoe") or {})["pending"] == "spawn"
    page.get_by_text("Event log").click()
    name = f"{loading_hub.environment.name}-lines-on-the-page.png"
    page.screenshot(path=artifacts / name, full_page=True)
    machine.write(GO_ON, "")
    page.wait_for_url(f"{loading_hub.url}/user/zoe/**", timeout=120_000)
    loading_hub.stop_server("zoe")

    # The Hub knows by now how long a start takes.
    machine.run(["rm", GO_ON])
    page.goto(f"{loading_hub.url}/hub/spawn")
    wait_until(lambda: find_place_of_the_bar(page) > 50, "the middle of the bar", 120)
    expect(page.locator("#progress-log")).to_contain_text("(usually ")
    machine.write(GO_ON, "")
    page.wait_for_url(f"{loading_hub.url}/user/zoe/**", timeout=120_000)
