"""A Hub that runs out of descriptors says what to do, and still answers and stops servers.

What a user stops and leaves behind takes none.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from websocket import WebSocketException

from machine.hub import USER, Hub, HubError
from machine.kernel import Kernel
from system.mediator import wait_until

pytestmark = pytest.mark.parametrize("hub", ["hub6"], indirect=True)

# A cell that stops its server's supervisor, which writes the Hub's log, and ends the server.
STOP_THE_SUPERVISOR = """
import os, pathlib, signal
server = os.getppid()
stat = pathlib.Path(f"/proc/{server}/stat").read_text()
supervisor = int(stat.rpartition(")")[2].split()[1])
os.kill(supervisor, signal.SIGSTOP)
os.kill(server, signal.SIGKILL)
"""

# How many connections take the Hub's descriptors, and how many are left: enough for the requests of
# a test, and less than a start leaves.
CONNECTIONS = 60
LEFT = 20


def count_descriptors(hub: Hub) -> int:
    """How many descriptors the Hub's process has."""
    return len(hub.machine.run(["ls", f"/proc/{hub.pid}/fd"]).stdout.split())


def set_limit(hub: Hub, count: int) -> None:
    """Change the soft limit of the Hub that runs."""
    hub.machine.run(["prlimit", f"--pid={hub.pid}", f"--nofile={count}:"], user=USER)


@pytest.fixture
def full_hub(hub: Hub) -> Iterator[Hub]:
    """The Hub beside a server of zoe's, with few descriptors left."""
    hub.start_server("zoe")
    before = count_descriptors(hub)
    with hub.machine.network():
        address = ("127.0.0.1", hub.port + 1)
        connections = [socket.create_connection(address) for _ in range(CONNECTIONS)]
    full = before + CONNECTIONS
    wait_until(lambda: count_descriptors(hub) >= full - LEFT // 2, "the Hub's connections")
    set_limit(hub, full + LEFT)
    yield hub
    set_limit(hub, 1024)
    for connection in connections:
        connection.close()


def test_a_start_is_refused_with_the_line_for_the_unit_and_leaves_nothing(full_hub: Hub) -> None:
    before, log = count_descriptors(full_hub), full_hub.read_log()
    with pytest.raises(HubError) as refusal:
        full_hub.start_server("wash")
    assert "Set LimitNOFILE=65536 in the Hub's unit" in refusal.value.message
    assert "LimitNOFILE=65536" in full_hub.read_log().removeprefix(log)
    processes = full_hub.machine.run(["pgrep", "--uid", "wash"], check=False)
    assert processes.stdout == ""
    # Connections of the proxy come and go.
    assert count_descriptors(full_hub) <= before + 4


def test_servers_can_be_stopped_and_started_again_when_there_is_room(full_hub: Hub) -> None:
    full_hub.stop_server("zoe")
    assert full_hub.machine.run(["pgrep", "--uid", "zoe"], check=False).stdout == ""
    set_limit(full_hub, 1024)
    full_hub.start_server("zoe")


def test_a_supervisor_that_its_user_stops_keeps_no_descriptor_of_the_hub(hub: Hub) -> None:
    before = count_logs(hub)
    hub.start_server("zoe")
    assert count_logs(hub) == before + 1
    with suppress(WebSocketException), Kernel(hub, "zoe") as kernel:
        kernel.run(STOP_THE_SUPERVISOR)
    hub.wait_until_gone("zoe")
    [supervisor] = hub.machine.run(["pgrep", "-u", "zoe", "-x", "sudospawner"]).stdout.split()
    wait_until(lambda: count_logs(hub) == before, "the end of the server's log")
    assert hub.machine.read(f"/proc/{supervisor}/stat").split()[2] == "T"
    hub.machine.run(["pkill", "-KILL", "--uid", "zoe"])


@pytest.mark.parametrize("place", ["journal", "file"])
def test_a_server_whose_log_goes_elsewhere_takes_no_descriptor_of_the_hub(
    hub: Hub, place: str
) -> None:
    policy = "/etc/sudospawner/policy.toml"
    hub.machine.write(policy, f'[server]\nlog = "{place}"\n')
    try:
        before = count_logs(hub)
        hub.start_server("zoe")
        wait_until(lambda: count_logs(hub) == before, "the end of the mediator's messages")
        hub.stop_server("zoe")
    finally:
        hub.machine.run(["rm", "-r", "/etc/sudospawner"])


def count_logs(hub: Hub) -> int:
    """How many pipes the Hub's process reads from."""
    ends = hub.machine.run(f"find /proc/{hub.pid}/fd -lname 'pipe:*' -perm -u+r ! -perm -u+w")
    return len(ends.stdout.split())
