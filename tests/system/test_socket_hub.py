"""A real Hub that may gain no rights, in the units of `docs/systemd.md`: it calls the socket."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from machine.caches import Cache
from machine.hub import Hub, HubError
from machine.kernel import Kernel
from machine.machine import Machine
from system.browser import log_in, run_a_cell_and_stop
from system.door import SERVICE, SOCKET, SOCKET_UNIT, SocketMediator
from system.mediator import wait_until
from system.systemd_page import PAGE, list_blocks, place

DEBIANS = (13, 12)

CONFIGURATION = """
c.SudoSpawner.mode = "socket"
# Nothing of the class may look for sudo.
c.SudoSpawner.sudo_args = ["--no-such-option"]
"""


@pytest.fixture(scope="module")
def socket_hub(machine: Machine, hub6: Cache) -> Iterator[Hub]:
    """A Hub in all additions of the page, and the door in its own."""
    mediator = SocketMediator(machine, str(hub6.bin))
    mediator.set_policy()
    blocks = list_blocks()
    mediator.door.install(service=blocks.door)
    unit = place(blocks.hub)
    hub = Hub(machine, hub6, configuration=CONFIGURATION, port=8060, unit_text=unit)
    addition = place(blocks.units, hub.folder) + blocks.socket
    machine.write(f"/etc/systemd/system/{hub.unit}.d/socket.conf", addition)
    with hub:
        yield hub
    left = mediator.end_units()
    mediator.remove_all()
    assert left == []


def read_status(machine: Machine, pid: int | str) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = machine.read(f"/proc/{pid}/status").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_a_hub_that_may_gain_no_rights_starts_zoes_jupyterlab(socket_hub: Hub, page: Page) -> None:
    machine = socket_hub.machine
    status = read_status(machine, socket_hub.pid)
    assert (status["NoNewPrivs"], int(status["CapBnd"], 16), status["Seccomp"]) == ("1", 0, "2")
    log_in(page, socket_hub, "zoe", "/hub/spawn")
    code = "import getpass; print('account', getpass.getuser())"
    run_a_cell_and_stop(page, socket_hub.url, code, "account zoe")
    socket_hub.wait_until_gone("zoe")
    assert machine.run(["pgrep", "--exact", "sudo"], check=False).stdout == ""


def test_a_hub_that_is_restarted_finds_its_servers(socket_hub: Hub) -> None:
    socket_hub.start_server("zoe")
    pid = socket_hub.pid
    # Nothing of root's is left by then, and nothing is needed to find the server.
    machine = socket_hub.machine
    find = ["systemctl", "is-active", SERVICE]
    wait_until(lambda: machine.run(find, check=False).stdout == "inactive\n", "the door's end")
    socket_hub.restart()
    assert socket_hub.pid != pid
    with Kernel(socket_hub, "zoe") as kernel:
        assert kernel.run("import getpass; print(getpass.getuser())") == "zoe\n"
    socket_hub.stop_server("zoe")


def measure_exposure(machine: Machine, unit: str) -> str:
    """What systemd-analyze says of a unit, 0 to 10: how much of the machine it can reach."""
    said = machine.run(["systemd-analyze", "security", "--no-pager", unit]).stdout
    return re.findall(r"Overall exposure level for \S+: (\S+)", said)[0]


def test_the_exposure_is_what_the_page_says(socket_hub: Hub, debian: int) -> None:
    machine = socket_hub.machine
    drop_in = f"/etc/systemd/system/{socket_hub.unit}.d/socket.conf"
    with_socket = machine.read(drop_in)
    after = measure_exposure(machine, socket_hub.unit)
    door = measure_exposure(machine, SERVICE)
    machine.write(drop_in, place(list_blocks().units, socket_hub.folder))
    machine.run(["systemctl", "daemon-reload"])
    before = measure_exposure(machine, socket_hub.unit)
    machine.write(drop_in, with_socket)
    machine.run(["systemctl", "daemon-reload"])
    assert float(after) <= 1.5
    if debian == 13:  # Each systemd counts a little differently.
        rows = re.findall(r"^\| the .*? \| (\d\.\d) \|$", PAGE, re.MULTILINE)
        assert rows == [before, after, door]


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (f"systemctl stop {SERVICE} {SOCKET_UNIT}", "Nothing listens at"),
        (f"chgrp root {SOCKET}", "may not connect to"),
        ("mv /etc/sudospawner/policy.toml /etc/sudospawner/away", "needs the policy file"),
        ("sed -i s/rhea/mal/ /etc/sudospawner/policy.toml", "add it to hub_users"),
    ],
)
def test_what_is_wrong_with_the_socket_is_on_the_users_page(
    socket_hub: Hub, page: Page, break_it: str, sentence: str
) -> None:
    machine = socket_hub.machine
    policy = machine.read("/etc/sudospawner/policy.toml")
    machine.run(break_it)
    try:
        log_in(page, socket_hub, "zoe", "/hub/spawn")
        expect(page.locator("body")).to_contain_text(sentence)
        with pytest.raises(HubError):
            socket_hub.start_server("zoe")
    finally:
        machine.run(["rm", "-f", "/etc/sudospawner/away"])
        machine.write("/etc/sudospawner/policy.toml", policy)
        machine.run(["systemctl", "restart", SOCKET_UNIT])
