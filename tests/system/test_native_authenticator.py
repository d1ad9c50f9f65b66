"""People who sign up in the Hub, with NativeAuthenticator: each gets an account at the first start.

The Hub runs as rhea. It is JupyterHub 5: the page of logins of NativeAuthenticator 1.3.0 is no page
for JupyterHub 6, which has no `statsd`. The servers are of JupyterHub 6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from machine.catalogue import cache_named
from machine.hub import Hub
from machine.installation import install_sudoers
from machine.machine import Machine
from system.browser import Browser, run_a_cell_and_stop
from system.conftest import install_what_is_tested
from system.first_use import EXAMPLE, PROGRAM
from system.mediator import RootMediator

PASSWORD = "long-enough-for-a-password"
# The server executables are those of another environment.
POLICY = f"""\
hub_users = ["rhea"]
[targets]
groups = ["jupyterhub"]
[accounts]
create = "{PROGRAM}"
[server]
directory = "{cache_named("hub6").bin}"
"""
CONFIGURATION = """\
c.JupyterHub.authenticator_class = "native"
c.Authenticator.allowed_users = set()
c.Authenticator.allow_all = True
c.SudoSpawner.mode = "root"
"""


@pytest.fixture(scope="module")
def native_hub() -> Iterator[Hub]:
    """A Hub on a machine of its own."""
    native = cache_named("native")
    with Machine() as machine:
        install_what_is_tested(machine, native)
        install_sudoers(machine, native, fragment="sudospawner-root-mode")
        machine.write(RootMediator.POLICY, POLICY)
        machine.write(PROGRAM, EXAMPLE, mode=0o755)
        with Hub(machine, native, configuration=CONFIGURATION) as hub:
            yield hub


@pytest.fixture(scope="module")
def visitor(native_hub: Hub) -> Iterator[Browser]:
    """A chromium on that machine."""
    browser = Browser(native_hub.machine)
    yield browser
    browser.close()


def sign_up(page: Page, hub: Hub, name: str) -> None:
    """Fill in the form for a new user."""
    page.goto(f"{hub.url}/hub/signup")
    page.locator("#username_input").fill(name)
    page.locator("#password_input").fill(PASSWORD)
    page.locator("#password_confirmation_input").fill(PASSWORD)
    page.locator("#signup_submit").click()


def log_in(page: Page, hub: Hub, name: str, path: str) -> None:
    """Fill in the form of a user, who goes on to a path of the Hub."""
    page.goto(f"{hub.url}/hub/login?next={path}")
    page.locator("#username_input").fill(name)
    page.locator("#password_input").fill(PASSWORD)
    page.locator("#login_submit").click()


def test_who_signs_up_and_is_authorised_has_an_account_at_the_first_start(
    native_hub: Hub, visitor: Browser
) -> None:
    hub, machine = native_hub, native_hub.machine
    is_there = ["getent", "passwd", "simon"]
    session, admins = visitor.open_session(), visitor.open_session()
    page, admin = session.new_page(), admins.new_page()
    sign_up(page, hub, "simon")
    expect(page.get_by_text("Your information has been sent to the admin")).to_be_visible()
    log_in(page, hub, "simon", "/hub/spawn")
    expect(page.get_by_text("has not been authorized")).to_be_visible()
    sign_up(admin, hub, "rhea")
    expect(admin.get_by_text("The signup was successful")).to_be_visible()
    log_in(admin, hub, "rhea", "/hub/authorize")
    admin.locator("#simon").get_by_role("button", name="Authorize").click()
    expect(admin.locator("#simon").get_by_text("Yes")).to_be_visible()
    before = machine.run(is_there, check=False).stdout
    log_in(page, hub, "simon", "/hub/spawn")
    code = "import subprocess; print(subprocess.getoutput('ls -ld ~'))"
    home = re.compile(r"drwx------\.? \d+ simon simon .* /home/simon")
    run_a_cell_and_stop(page, hub.url, code, home, user="simon")
    session.close()
    admins.close()
    assert before == ""
    assert machine.run(is_there).stdout.split(":")[5] == "/home/simon"
    assert "jupyterhub" in machine.run(["id", "-Gn", "simon"]).stdout.split()


def test_a_name_that_no_account_is_made_of_is_told_on_the_users_page(
    native_hub: Hub, visitor: Browser
) -> None:
    hub = native_hub
    session, admins = visitor.open_session(), visitor.open_session()
    page, admin = session.new_page(), admins.new_page()
    log_in(admin, hub, "rhea", "/hub/authorize")
    # A group's name, and one with a sign that the pattern has not.
    for name, reason in [
        ("disk", "a group has this name"),
        ("river@tam", "accounts.names does not match it"),
    ]:
        sign_up(page, hub, name)
        admin.goto(f"{hub.url}/hub/authorize/{name}")
        log_in(page, hub, name, "/hub/spawn")
        expect(page.get_by_text(reason).first).to_be_visible()
        page.goto(f"{hub.url}/hub/logout")
        page.wait_for_url(re.compile("/hub/login"))
    session.close()
    admins.close()
    assert hub.machine.run(["getent", "passwd", "disk"], check=False).stdout == ""
