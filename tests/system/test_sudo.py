"""sudo as people have it configured, and the two sudoers fragments that we ship."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from machine.catalogue import cache_named
from machine.hub import Hub
from machine.installation import install_sudoers
from machine.kernel import Kernel
from system.mediator import wait_until

DEBIANS = (13, 12)

IO_LOG = "/var/log/sudo-io"

# What administrators add; `log_stdin` and `log_input` are there to be overruled for the mediator.
SITE = f"""
Defaults use_pty
Defaults !requiretty
Defaults log_input, log_stdin, log_output
Defaults iolog_dir={IO_LOG}
Defaults !compress_io
Defaults lecture=always
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""

FRAGMENTS = ("sudospawner-user-mode", "sudospawner-user-mode-list")


@pytest.fixture
def configured_hub(hub: Hub, fragment: str) -> Iterator[Hub]:
    """A Hub under a site's sudo configuration; the tests' own comes back afterwards."""
    install_sudoers(hub.machine, hub.environment, fragment=fragment, more=SITE)
    yield hub
    hub.stop_all_servers()
    every = [cache_named(name) for name in ("hub6", "hub4", "upstream")]
    install_sudoers(hub.machine, *every)


@pytest.mark.parametrize("hub", ["hub6"], indirect=True)
@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_a_site_that_records_sudo_has_servers_no_lasting_sudo_and_no_tokens_on_record(
    configured_hub: Hub,
) -> None:
    hub = configured_hub
    hub.machine.run(["rm", "-rf", IO_LOG])
    hub.start_server("zoe")
    sudos = ["ps", "-C", "sudo", "--format", "args="]
    wait_until(lambda: hub.machine.run(sudos, check=False).stdout == "", "the end of sudo")
    environment = hub.machine.run(["cat", f"/proc/{hub.find_pid('zoe')}/environ"]).stdout
    variables = dict(line.split("=", 1) for line in environment.split("\0") if "=" in line)
    with Kernel(hub, "zoe") as kernel:
        assert kernel.run("import getpass; print(getpass.getuser())") == "zoe\n"
    hub.stop_server("zoe")

    recorded = hub.machine.run(["grep", "--recursive", "--text", '"pid"', IO_LOG]).stdout
    assert "/stdout" in recorded, "sudo recorded no output, so this test would prove nothing"
    token = ["grep", "--recursive", "--text", variables["JUPYTERHUB_API_TOKEN"], IO_LOG]
    assert hub.machine.run(token, check=False).returncode == 1


@pytest.mark.parametrize("hub", ["hub6"], indirect=True)
@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_the_rules_permit_the_mediator_for_members_and_nothing_else(configured_hub: Hub) -> None:
    machine = configured_hub.machine
    mediator = str(configured_hub.environment.bin / "sudospawner")

    def sudo(*words: str) -> int:
        return machine.run(["sudo", "-n", *words], user="rhea", check=False).returncode

    assert sudo("-u", "zoe", mediator, "--help") == 0
    assert sudo("-u", "wash", mediator, "--help") == 0
    assert sudo("-u", "mal", mediator, "--help") != 0
    assert sudo("-u", "root", mediator, "--help") != 0
    assert sudo("-u", "zoe", "true") != 0
    assert machine.run(["sudo", "-n", "-u", "zoe", mediator], user="mal", check=False).returncode
