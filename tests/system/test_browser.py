"""What a person sees in the browser."""

from __future__ import annotations

from playwright.sync_api import Page

from machine.hub import Hub
from system.browser import log_in, run_a_cell_and_stop


def test_zoe_logs_in_runs_a_cell_as_zoe_and_stops_her_server(hub: Hub, page: Page) -> None:
    log_in(page, hub, "zoe", "/hub/spawn")
    code = "import getpass; print('account', getpass.getuser())"
    run_a_cell_and_stop(page, hub.url, code, "account zoe")
    hub.wait_until_gone("zoe")
