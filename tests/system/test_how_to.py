"""`docs/sudo.md`, from a machine without any of it to zoe, who runs a cell.

The tests are the page's sections in their order: each needs those before it.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from machine.catalogue import cache_named
from machine.environments import Downloads
from machine.installation import REPOSITORY, find_debian_package, find_wheel
from machine.machine import Machine
from system.browser import Browser, run_a_cell_and_stop
from system.how_to import (
    Section,
    is_shown,
    read_blocks,
    read_dialogue,
    read_sections,
    run_section,
)
from system.mediator import wait_until

DEBIANS = (13, 12)

PAGE = read_sections(REPOSITORY / "docs/sudo.md")
START = [section.heading for section in PAGE].index("Start") + 1
EXAMPLES = REPOSITORY / "examples"
PASSWORD = "zoe-password"
DIST = "/run/dist"


@pytest.fixture(scope="module")
def bare_machine(debian: int) -> Iterator[Machine]:
    """A machine that has only people: none of the Hub's accounts, and nothing of ours.

    pip and npm find in it, without a network, what they would fetch.
    """
    with Machine(release=debian) as machine:
        machine.run("userdel --remove rhea 2>/dev/null; userdel nohome; groupdel jupyterhub")
        for file in (find_debian_package(), find_wheel()):
            machine.write(f"{DIST}/{file.name}", file.read_bytes())
        machine.run(f"cp {DIST}/*.deb /root")
        yield machine


@pytest.fixture(scope="module")
def registries() -> dict[str, str]:
    """Variables with which pip and npm find their packages."""
    downloads = cache_named("downloads")
    assert isinstance(downloads, Downloads)
    settings = downloads.settings
    return settings | {"PIP_FIND_LINKS": f"{settings['PIP_FIND_LINKS']} {DIST}"}


@pytest.fixture(scope="module")
def visitor(bare_machine: Machine) -> Iterator[Browser]:
    """A chromium on the bare machine."""
    browser = Browser(bare_machine)
    yield browser
    browser.close()


# What the page has made, but for the virtualenv: to install it once more would test nothing more.
FORGET = """
systemctl disable --now jupyterhub jupyterhub-port.socket jupyterhub-port
for unit in jupyterhub.service jupyterhub-port.socket jupyterhub-port.service; do
    rm -f /etc/systemd/system/$unit
done
systemctl daemon-reload
dpkg --purge sudospawner
rm -rf /etc/sudospawner /etc/sudoers.d/sudospawner* /etc/jupyterhub /var/lib/jupyterhub
/opt/jupyterhub/bin/pip uninstall --yes sudospawner-rs
npm uninstall --global configurable-http-proxy
userdel rhea
groupdel jupyterhub
"""


def wait_until_it_answers(machine: Machine, url: str, seconds: float = 120) -> None:
    """Wait until a Hub's page of logins is there; fails with the Hub's log when time is up."""

    def answers() -> bool:
        try:
            with machine.network(), urllib.request.urlopen(f"{url}/hub/login", timeout=30):
                return True
        except (urllib.error.URLError, OSError):
            return False

    try:
        wait_until(answers, f"the page of {url}", seconds)
    except AssertionError:
        journal = ["journalctl", "--no-pager", "--output=cat", "--unit=jupyterhub"]
        pytest.fail(machine.run(journal).stdout[-4000:])


def log_in(page: Page, url: str, name: str, password: str) -> None:
    """Fill in the Hub's form, and go on to the start of a server."""
    page.goto(f"{url}/hub/login?next=/hub/spawn")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def run_a_cell(page: Page, url: str, code: str, expected: str) -> None:
    """Log in as zoe, with the password of her account, start her server, and run a cell."""
    log_in(page, url, "zoe", PASSWORD)
    run_a_cell_and_stop(page, url, code, expected)


@pytest.mark.parametrize("section", PAGE[:START], ids=lambda section: section.heading)
def test_the_commands_do_what_the_page_says(
    bare_machine: Machine, registries: dict[str, str], section: Section
) -> None:
    run_section(section, bare_machine, env=registries, typed=f"{PASSWORD}\n")


def test_zoe_then_logs_in_through_pam_and_runs_a_cell(
    bare_machine: Machine, visitor: Browser
) -> None:
    url = "http://127.0.0.1:8000"
    wait_until_it_answers(bare_machine, url)
    session = visitor.open_session()
    code = "import getpass; print('account', getpass.getuser())"
    run_a_cell(session.new_page(), url, code, "account zoe")
    session.close()


@pytest.mark.parametrize("section", PAGE[START:], ids=lambda section: section.heading)
def test_the_commands_behind_the_start_do_what_the_page_says(
    bare_machine: Machine, registries: dict[str, str], section: Section
) -> None:
    run_section(section, bare_machine, env=registries, typed=f"{PASSWORD}\n")


def test_with_all_of_it_she_does_so_on_port_80_in_a_unit_within_limits(
    bare_machine: Machine, visitor: Browser
) -> None:
    url = "http://127.0.0.1"
    wait_until_it_answers(bare_machine, url)
    session = visitor.open_session()
    code = (
        "import resource as r, getpass; "
        "print(getpass.getuser(), r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE), "
        "'jupyter-zoe.service' in open('/proc/self/cgroup').read())"
    )
    run_a_cell(session.new_page(), url, code, "zoe (16384, 16384) (0, 0) True")
    session.close()
    records = ["journalctl", "--no-pager", "--output=cat", "--identifier=sudospawner", "_UID=0"]
    assert "spawn" in bare_machine.run(records).stdout


def test_a_wrong_password_and_an_account_outside_the_group_are_refused(
    bare_machine: Machine, visitor: Browser
) -> None:
    for name, password in (("zoe", "wrong"), ("mal", "mal-password")):
        session = visitor.open_session()
        page = session.new_page()
        log_in(page, "http://127.0.0.1", name, password)
        expect(page.get_by_text("Invalid username or password")).to_be_visible()
        session.close()


def test_the_programs_of_the_wheel_are_the_debian_packages(bare_machine: Machine) -> None:
    for name in (
        "sudospawner",
        "sudospawner-slurm",
        "sudospawner-session",
        "sudospawner-setup",
        "jupyterhub-roothooks",
        "jsd-helper",
    ):
        compare = ["cmp", f"/opt/jupyterhub/bin/{name}", f"/usr/bin/{name}"]
        assert bare_machine.run(compare, check=False).returncode == 0


# What Fedora's files are like.
NO_SHADOW = """
gpasswd --delete rhea shadow
chmod 0000 /etc/shadow
chgrp root /etc/shadow
groupdel shadow
"""


def test_where_files_are_as_on_fedora_the_commands_for_it_let_rhea_check_passwords(
    bare_machine: Machine,
) -> None:
    [section] = [one for one in PAGE if one.heading == "Passwords: PAM without root"]
    [setting] = [block.text for block in section.list_blocks() if block.language == "shell"]
    [*_, (_, trial)] = [block for block in section.list_blocks() if block.language == "console"]
    [(command, shown)] = read_dialogue(trial)
    bare_machine.run(NO_SHADOW)

    def is_right() -> bool:
        line = ["bash", "-c", f"{command} 2>&1"]
        ended = bare_machine.run(line, input=f"{PASSWORD}\n", check=False)
        return is_shown(shown, ended.stdout)

    assert not is_right()
    bare_machine.run(["bash", "-e", "-c", setting])
    assert is_right()


def test_the_script_does_it_all_in_one(
    bare_machine: Machine, registries: dict[str, str], visitor: Browser
) -> None:
    machine = bare_machine
    machine.run(FORGET, env=registries)
    machine.write("/root/set-up-hub", (EXAMPLES / "debian/set-up-hub").read_bytes(), mode=0o755)
    command = f"/root/set-up-hub /root/{find_debian_package().name} zoe wash"
    said = machine.run(command, env=registries, cwd="/root", timeout=600).stdout
    assert said.splitlines()[-1].endswith("zoe,wash")
    session = visitor.open_session()
    page = session.new_page()
    log_in(page, "http://127.0.0.1:8000", "zoe", PASSWORD)
    page.wait_for_url(re.compile(r"/user/zoe/lab"))
    session.close()
    assert machine.run(["pgrep", "-u", "zoe", "-f", "jupyterhub-singleuser"]).stdout


def test_the_values_for_kubernetes_are_those_of_its_page() -> None:
    values = (EXAMPLES / "kubernetes/values.yaml").read_text()
    [shown] = read_blocks("kubernetes.md", "yaml")
    context = shown.partition("container_security_context:\n")[2].rstrip()
    assert context and context in "\n".join(
        line for line in values.splitlines() if not line.lstrip().startswith("#")
    )
