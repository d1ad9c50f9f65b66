"""Servers with a session of PAM's and hooks after them: each does its part, in both launchers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.after_hooks import AFTER, HOOKS, LISTS
from system.mediator import wait_until
from system.sessions import LAUNCHERS, NOTES, Sessions, sessions_in

# Into the diary of sessions, so that one file has the order.
NOTE = f"""\
#!/bin/sh
echo "hook after $SUDOSPAWNER_USER signal=$SUDOSPAWNER_SIGNAL left=$SUDOSPAWNER_SERVERS_LEFT" \\
    >>{NOTES}
"""


@pytest.fixture(params=LAUNCHERS)
def sessions(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Sessions]:
    """A mediator whose servers have sessions, and a hook after each."""
    with sessions_in(machine, request.param, hub6.bin / "sudospawner") as sessions:
        sessions.set_policy(more=HOOKS)
        machine.write(AFTER / "10-note", NOTE, mode=0o755)
        yield sessions


def test_a_session_is_closed_before_the_hooks_after_its_server(sessions: Sessions) -> None:
    spawned = sessions.mediator.spawn()
    assert spawned.reply["ok"] is True
    assert len(sessions.list_closers()) == 1
    assert sessions.mediator.stop(spawned, unit=spawned.reply.get("unit", ""))["alive"] is False
    wait_until(lambda: len(sessions.read_notes()) >= 3, "the hook after the server")
    assert sessions.read_notes() == [
        "open_session zoe",
        "close_session zoe",
        "hook after zoe signal=15 left=0",
    ]
    sessions.wait_for_close()


def test_a_server_with_a_session_counts_for_hooks_of_its_users_others(sessions: Sessions) -> None:
    """What the list of servers goes by is passed on through the program that opens the session."""
    first = sessions.mediator.spawn()
    second = sessions.mediator.spawn(server_name="gpu")
    sessions.mediator.stop(second, server_name="gpu", unit=second.reply.get("unit", ""))
    wait_until(lambda: "left=1" in " ".join(sessions.read_notes()), "the hook after the second")
    if not sessions.is_in_unit:
        # Without its keeper a server still counts, since its supervisor is there.
        keeper = ["pkill", "--signal", "KILL", "--full", "^sudospawner-keeper"]
        sessions.machine.run(keeper)
        third = sessions.mediator.spawn(server_name="third")
        sessions.mediator.stop(third, server_name="third")
        notes = sessions.read_notes
        wait_until(lambda: " ".join(notes()).count("left=1") == 2, "the hook after the third")
    sessions.mediator.stop(first, unit=first.reply.get("unit", ""))
    sessions.wait_for_close()
    count = f"find {LISTS} -type f | wc -l"
    if sessions.is_in_unit:
        wait_until(lambda: sessions.machine.run(count).stdout == "0\n", "the end of the list")
