"""The same requests to our mediator and to upstream's from PyPI: same sudo, same account.

Where ours is to be the same, the replies and what the server sees are compared. Upstream needs a
second and more for each call, so the table holds what matters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from machine.caches import Cache
from system.mediator import OWN, Mediator, wait_for_file, wait_until

Requests = dict[str, Any]


@pytest.fixture(scope="module")
def upstream_mediator(upstream: Cache, installed_mediator: Mediator) -> Iterator[Mediator]:
    """Upstream's mediator with the same server beside it."""
    mediator = Mediator(installed_mediator.machine, str(upstream.bin))
    mediator.put_server()
    mediator.permit()
    yield mediator
    mediator.forbid()


SAME_REPLY = {
    "signal 0 to a pid that nobody has": {"action": "kill", "pid": 999999, "signal": 0},
    "a signal to a pid that nobody has": {"action": "kill", "pid": 999999, "signal": 15},
    "signal 0 to a process of root": {"action": "kill", "pid": 1, "signal": 0},
    "SIGKILL to a process of root": {"action": "kill", "pid": 1, "signal": 9},
    "a number that is no signal": {"action": "kill", "pid": 1, "signal": 999},
    "a negative number for a signal": {"action": "kill", "pid": 999999, "signal": -1},
    "a server that exits with 3": {"action": "spawn", "args": ["exit", "3"], "env": {}},
    "a server that exits with 255": {"action": "spawn", "args": ["exit", "255"], "env": {}},
    "a server that is killed": {"action": "spawn", "args": ["die", "9"], "env": {}},
    "a server that is terminated": {"action": "spawn", "args": ["die", "15"], "env": {}},
}
UPSTREAMS_KEYS = ("ok", "alive", "error")
# Both mediators watch a server for a second, in which it has to end.
ENDS_AT_ONCE = """#!/bin/sh
case $1 in
    exit) exit $2 ;;
    die) kill -$2 $$ ;;
esac
"""


@pytest.mark.parametrize("request_", SAME_REPLY.values(), ids=SAME_REPLY.keys())
def test_the_reply_is_the_same(
    mediator: Mediator, upstream_mediator: Mediator, request_: Requests
) -> None:
    both = (mediator, upstream_mediator)
    for one in both:
        one.put_server(ENDS_AT_ONCE)
    ours, theirs = [one.call(request_) for one in both]
    for one in both:
        one.put_server()
    assert {key: ours.reply[key] for key in UPSTREAMS_KEYS if key in ours.reply} == theirs.reply
    assert ours.status == theirs.status


@pytest.mark.parametrize(
    "request_",
    [
        "",
        "no json",
        '{"action": "dance"}',
        '{"action": "kill", "pid": 1}',
        '{"pid": 1, "signal": 0}',
    ],
)
def test_both_refuse_what_is_malformed_with_exit_status_1(
    mediator: Mediator, upstream_mediator: Mediator, request_: str
) -> None:
    assert mediator.call(request_).status == 1
    assert upstream_mediator.start(request_).wait() == 1


def test_a_server_that_ends_in_peace_at_once_is_a_success(
    mediator: Mediator, upstream_mediator: Mediator
) -> None:
    for either in (mediator, upstream_mediator):
        reply = either.spawn("exit", "0").reply
        assert reply["ok"] is True
        assert reply["pid"] > 1


def test_a_server_that_runs_is_alive_and_a_signal_ends_it(
    mediator: Mediator, upstream_mediator: Mediator
) -> None:
    for either in (mediator, upstream_mediator):
        spawned = either.spawn()
        kill = {"action": "kill", "pid": spawned.reply["pid"], "signal": 0}
        assert either.call(kill).reply == {"ok": True, "alive": True}
        assert either.call({**kill, "signal": 15}).reply == {"ok": True, "alive": True}
        wait_until(lambda: mediator.list_processes() == [], "the end of the server")
        assert either.call(kill).reply == {"ok": True, "alive": False}


def test_the_server_sees_the_same_of_itself(
    mediator: Mediator, upstream_mediator: Mediator
) -> None:
    words = ["--x=y z", "$HOME", "'\"\\", "new\nline", "ünï", "", "%s", "{}"]
    env = {
        "A": "b=c",
        "EMPTY": "",
        "TEXT": "two\nlines $HOME 'x'",
        "PYTHONPATH": "/tmp",
        "PATH": "/x",
    }
    seen = {}
    for name, either in {"ours": mediator, "theirs": upstream_mediator}.items():
        file = f"/home/zoe/{name}.json"
        spawned = either.spawn("report", file, *words, env=env)
        assert spawned.reply["ok"], spawned
        wait_for_file(either, file)
        seen[name] = json.loads(either.machine.read(file))
        either.machine.run(["rm", file])
        # Upstream passes on what its own caller ignored of these.
        del seen[name]["ignored_realtime"]
        if name == "ours":
            assert spawned.reply["dropped_env"] == ["PYTHONPATH"]
            assert "PYTHONPATH" in spawned.log
        kill = {"action": "kill", "pid": spawned.reply["pid"], "signal": 9}
        either.call(kill)
    ours, theirs = seen["ours"], seen["theirs"]
    assert ours["argv"][0] == str(mediator.folder / "sudospawner-singleuser")
    for what in ("argv", "descriptors"):
        # The path of the server differs, and the report's own file; upstream leaks nothing either.
        ours[what], theirs[what] = ours[what][3:], theirs[what][3:]
    # Ours says whose account it is, in addition.
    theirs["env"] |= OWN
    assert ours == theirs
    assert ours["env"]["TEXT"] == env["TEXT"]
    assert "PYTHONPATH" not in ours["env"]
    assert ours["cwd"] == "/home/zoe"
    assert ours["stdin"] == "/dev/null"
    assert ours["one_output"] is True
    wait_until(lambda: mediator.list_processes() == [], "the end of both servers")
