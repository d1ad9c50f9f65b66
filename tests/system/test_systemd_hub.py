"""A real Hub whose servers are units, run by the units that `docs/systemd.md` shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from websocket import WebSocketException

from machine.caches import Cache
from machine.hub import Hub, HubError
from machine.installation import EXAMPLE_PATH, SUDOERS
from machine.kernel import Kernel
from machine.machine import Machine
from system.browser import log_in
from system.door import SocketMediator
from system.mediator import Mediator, wait_until
from system.systemd_page import PAGE, list_blocks, place

DEBIANS = (13, 12)

POLICY = Path("/etc/sudospawner/policy.toml")
UNIT = "jupyter-zoe.service"
MEMORY = 512 << 20

CONFIGURATION = """
c.SudoSpawner.mode = "root"
c.Spawner.cpu_limit = 0.75
def choose_memory(spawner):
    spawner.mem_limit = {"greedy": "8G", "free": None}.get(spawner.name, "512M")
    if spawner.name == "free":
        spawner.cpu_limit = None
c.Spawner.pre_spawn_hook = choose_memory
"""

# Has the kernel choose the server, not its greedy child, when there is not enough memory.
TAKE_ALL_MEMORY = """
import os
with open(f"/proc/{os.getppid()}/oom_score_adj", "w") as score:
    score.write("1000")
taken = []
while True:
    taken.append(b"x" * (16 << 20))
"""


@pytest.fixture(scope="module")
def running_hub(machine: Machine, hub6: Cache) -> Iterator[Hub]:
    """A Hub in the unit of the page, for all tests of this file."""
    rules = (SUDOERS / "sudospawner-root-mode").read_text()
    rule = "/etc/sudoers.d/sudospawner-root-mode"
    machine.write(rule, rules.replace(EXAMPLE_PATH, str(hub6.bin / "sudospawner")), mode=0o440)
    unit = place(list_blocks().hub)
    hub = Hub(machine, hub6, configuration=CONFIGURATION, port=8030, unit_text=unit)
    try:
        with hub:
            yield hub
    finally:
        machine.run(["rm", rule])


@pytest.fixture
def unit_hub(running_hub: Hub) -> Iterator[Hub]:
    """The Hub shut in as the page says, whose servers are units; none runs before or after."""
    addition = place(list_blocks().units, running_hub.folder)
    yield from run_with(running_hub, 'launcher = "systemd"', addition)


@pytest.fixture
def process_hub(running_hub: Hub) -> Iterator[Hub]:
    """The Hub whose servers are processes beside it; none runs before or after."""
    yield from run_with(running_hub, 'launcher = "process"', "")


def run_with(hub: Hub, launcher: str, addition: str) -> Iterator[Hub]:
    """The Hub with a policy, and an addition to its unit; it is restarted where that is another."""
    machine = hub.machine
    limits = '[limits]\nmemory = "2G"\n' if "systemd" in launcher else ""
    targets = '[targets]\ngroups = ["jupyterhub"]\n'
    machine.write(POLICY, f'hub_users = ["rhea"]\n{targets}{limits}[server]\n{launcher}\n')
    file = f"/etc/systemd/system/{hub.unit}.d/units.conf"
    if machine.run(["cat", file], check=False).stdout != addition:
        machine.write(file, addition)
        machine.run(["systemctl", "daemon-reload"])
        hub.restart()
    yield hub
    hub.stop_all_servers()
    machine.run(["rm", "-rf", POLICY.parent])
    units = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "jupyter-*"]
    machine.run(["systemctl", "reset-failed", "jupyter-*"], check=False)
    assert machine.run(units).stdout == ""
    assert machine.run(["pgrep", "--uid", "zoe", "--list-full"], check=False).stdout == ""


def show(machine: Machine, unit: str, *names: str) -> list[str]:
    """Properties of a unit, in the order in which they are asked for."""
    words = ["systemctl", "show", f"--property={','.join(names)}", unit]
    shown = dict(line.split("=", 1) for line in machine.run(words).stdout.splitlines())
    return [shown[name] for name in names]


def get_state(hub: Hub, name: str = "") -> dict[str, object]:
    """What the Hub has stored of a server of zoe's."""
    server = hub.find_server("zoe", name)
    assert server is not None and server["ready"]
    return server["state"]


def test_a_server_is_a_unit_with_the_hubs_limits_and_survives_the_hubs_restart(
    unit_hub: Hub,
) -> None:
    machine = unit_hub.machine
    unit_hub.start_server("zoe")
    state = get_state(unit_hub)
    assert state["unit"] == UNIT
    assert state["limits"] == {"memory": MEMORY, "cpus": 0.75}
    limits = show(machine, UNIT, "MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "OOMPolicy")
    assert limits == [str(MEMORY), "0", "750ms", "continue"]
    assert show(machine, UNIT, "MainPID") == [str(state["pid"])]
    whose = "import getpass, os; print(getpass.getuser(), os.getcwd())"
    with Kernel(unit_hub, "zoe") as kernel:
        assert kernel.run(whose) == "zoe /home/zoe\n"
        assert UNIT in kernel.run("print(open('/proc/self/cgroup').read())")
    pid = unit_hub.pid

    unit_hub.restart()
    assert unit_hub.pid != pid
    assert get_state(unit_hub) == state
    with Kernel(unit_hub, "zoe") as kernel:
        assert kernel.run(whose) == "zoe /home/zoe\n"
    unit_hub.stop_server("zoe")
    wait_until(lambda: show(machine, UNIT, "LoadState") == ["not-found"], "the unit's end")
    pgrep = ["pgrep", "--uid", "zoe"]
    wait_until(lambda: machine.run(pgrep, check=False).stdout == "", "the end of zoe's processes")


def test_more_than_the_policy_gives_is_refused_with_the_sentence_on_the_page(
    unit_hub: Hub, page: Page
) -> None:
    log_in(page, unit_hub, "zoe", "/hub/spawn/zoe/greedy")
    expect(page.locator("body")).to_contain_text("limits.memory")
    expect(page.locator("body")).to_contain_text(str(2 << 30))
    assert unit_hub.machine.run(["pgrep", "--uid", "zoe"], check=False).stdout == ""


def test_a_server_that_is_killed_for_its_memory_says_so_and_starts_again(
    unit_hub: Hub, page: Page, artifacts: Path
) -> None:
    unit_hub.start_server("zoe")
    pid = unit_hub.find_pid("zoe")
    lost = (OSError, ValueError, WebSocketException)
    with Kernel(unit_hub, "zoe") as kernel, suppress(*lost):
        kernel.run(TAKE_ALL_MEMORY)
    unit_hub.wait_until_gone("zoe")
    log_in(page, unit_hub, "zoe", "/user/zoe/lab")
    expect(page.locator("body")).to_contain_text("more memory than it may (512 MiB)")
    page.screenshot(path=artifacts / "killed-for-its-memory.png", full_page=True)
    log = unit_hub.read_log()
    assert "its server was ended by signal 9" in log
    assert "server stopped, with exit code: -9" in log
    unit_hub.start_server("zoe")
    assert unit_hub.find_pid("zoe") != pid


def test_a_server_that_is_a_process_survives_the_hubs_restart(process_hub: Hub) -> None:
    process_hub.start_server("zoe", "free")
    state = get_state(process_hub, "free")
    assert "unit" not in state
    cgroup = process_hub.machine.read(f"/proc/{state['pid']}/cgroup")
    assert process_hub.unit in cgroup, "or the page would be wrong about what counts where"
    pid = process_hub.pid
    process_hub.restart()
    assert process_hub.pid != pid
    assert get_state(process_hub, "free") == state
    with Kernel(process_hub, "zoe", "free") as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    process_hub.stop_server("zoe", "free")


def test_a_limit_on_a_server_that_is_a_process_is_refused_with_both_remedies(
    process_hub: Hub,
) -> None:
    with pytest.raises(HubError) as refusal:
        process_hub.start_server("zoe")
    for remedy in ('server.launcher = \\"systemd\\"', "mem_limit"):
        assert remedy in refusal.value.message


def read_table(column: int) -> list[tuple[str, str]]:
    """The options of the page's table, and what one of its columns says of them."""
    verdict = r"(works|fails)"
    row = rf"^\| `(\w+=.*?)` \| {verdict} \| {verdict} \| {verdict} \|"
    rows = re.findall(row, PAGE, re.MULTILINE)
    assert len(rows) > 30
    return [(option, verdicts[column]) for option, *verdicts in rows]


class Tolerance:
    """Makes a call in a unit of rhea's with one option or more."""

    def __init__(self, mediator: Mediator) -> None:
        self._machine = mediator.machine
        self._words = mediator.list_words("zoe")
        request = json.dumps({"action": "kill", "pid": 999999, "signal": 0})
        self._machine.write("/run/request", request)

    def see(self, *options: str) -> str:
        """Whether the call works."""
        run = ["systemd-run", "--quiet", "--wait", "--collect"]
        properties = [
            "User=rhea",
            "StandardInput=file:/run/request",
            "StandardOutput=truncate:/run/reply",
            "StandardError=null",
            *options,
        ]
        words = [*run, *(f"--property={one}" for one in properties), "--", *self._words]
        self._machine.run(words, check=False)
        worked = self._machine.read("/run/reply") == '{"ok":true,"alive":false}\n'
        return "works" if worked else "fails"


def test_sudo_tolerates_what_the_page_says_and_nothing_else(
    machine: Machine, mediator: Mediator, debian: int
) -> None:
    tolerance = Tolerance(mediator)
    rows = read_table({12: 0, 13: 1}[debian])
    assert [(option, tolerance.see(option)) for option, _ in rows] == rows
    mediator.permit(more="Defaults log_output\n")
    machine.run(["mkdir", "-p", "/var/log/sudo-io"])
    recording = re.findall(r"`(ReadWritePaths=\S*sudo-io)`", PAGE)
    assert len(recording) == 1
    assert tolerance.see("ProtectSystem=strict") == "fails"
    assert tolerance.see("ProtectSystem=strict", *recording) == "works"
    machine.run(["rm", "-r", "/var/log/sudo-io"])


def test_the_socket_tolerates_what_the_page_says(machine: Machine, hub6: Cache) -> None:
    mediator = SocketMediator.install(machine, "/opt/socket-mode/bin", hub6.bin / "sudospawner")
    try:
        tolerance = Tolerance(mediator)
        rows = read_table(2)
        assert [(option, tolerance.see(option)) for option, _ in rows] == rows
    finally:
        mediator.remove_all()
