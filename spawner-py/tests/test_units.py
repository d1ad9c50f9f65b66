"""Servers in units of systemd: their limits, their names, and how they ended."""

from __future__ import annotations

import asyncio
import json

import pytest
from conftest import LIMIT, RECORD, REPLY
from tornado.web import HTTPError

from sudospawner.ending import Ending, format_bytes

UNIT = "jupyter-zoe.service"
LIMITS = {"memory": 512 << 20, "cpus": 0.5}


def reply_with(**reply):
    """A program that records its request, and replies to a spawn as to everything else."""
    return RECORD + f"print({json.dumps({'ok': True, **reply})!r})"


@pytest.fixture
def make_unit_spawner(programs, make_spawner, child):
    """Make a spawner in root mode whose server, `child`, is said to live in a unit."""

    def make(**reply):
        spawner = make_spawner(programs.write(reply_with(**reply)), mode="root")
        spawner.load_state({"pid": child.pid, "unit": UNIT, "limits": LIMITS})
        return spawner

    return make


@pytest.mark.parametrize(
    ("set_limits", "sent"),
    [
        ({"mem_limit": "1G", "cpu_limit": 0.5}, {"limits": {"memory": 1 << 30, "cpus": 0.5}}),
        ({"mem_limit": "64M"}, {"limits": {"memory": 64 << 20}}),
        ({"cpu_limit": 2}, {"limits": {"cpus": 2.0}}),
        ({}, {}),
    ],
)
async def test_in_root_mode_the_limits_that_are_set_are_asked_for(
    programs, make_spawner, child, caplog, set_limits, sent
):
    program = programs.write(RECORD + REPLY % child.pid)
    spawner = make_spawner(program, mode="root", **set_limits)
    spawner.log.propagate = True
    await spawner.start()
    (request,) = programs.requests()
    assert {name: request[name] for name in request if name == "limits"} == sent
    assert "is set, but" not in caplog.text


async def test_in_user_mode_limits_are_not_sent_and_that_is_said_once(
    programs, make_spawner, child, caplog
):
    program = programs.write(RECORD + REPLY % child.pid)
    for _ in range(2):
        spawner = make_spawner(program, mem_limit="1G", cpu_limit=0.5)
        spawner.log.propagate = True
        await spawner.start()
    assert all("limits" not in request for request in programs.requests())
    said = [record.getMessage() for record in caplog.records if "not enforced" in record.message]
    assert len(said) == 2
    assert "mem_limit" in said[0]
    assert "cpu_limit" in said[1]


async def test_a_limit_that_is_refused_is_a_sentence_on_the_page(programs, make_spawner):
    sentence = "4 GiB of memory were asked for, and the policy gives a server at most 2 GiB"
    refusal = {"ok": False, "code": "limit_exceeds_policy", "error": sentence}
    spawner = make_spawner(programs.write(reply_with(**refusal)), mode="root", mem_limit="4G")
    with pytest.raises(HTTPError) as raised:
        await spawner.start()
    assert raised.value.jupyterhub_message == sentence


async def test_the_state_keeps_unit_and_limits_as_long_as_the_server_is_there(
    programs, make_spawner, child
):
    spawner = make_spawner(
        programs.write(reply_with(pid=child.pid, unit=UNIT, limits=LIMITS)), mode="root"
    )
    await spawner.start()
    assert await spawner.poll() is None
    state = spawner.get_state()
    assert state.pop("started")
    assert state == {"pid": child.pid, "unit": UNIT, "limits": LIMITS}
    restarted = make_spawner("/nonexistent/mediator", mode="root")
    restarted.load_state(spawner.get_state())
    assert restarted.get_state() == spawner.get_state()
    restarted.clear_state()
    assert restarted.get_state() == {}


async def test_a_state_without_unit_is_taken_up_as_before(programs, make_spawner, child):
    spawner = make_spawner(programs.write(reply_with(alive=True)), mode="root")
    spawner.load_state({"pid": child.pid})
    assert await spawner.poll() is None
    assert set(spawner.get_state()) == {"pid", "started"}
    assert await spawner._signal(15) is True
    assert "unit" not in programs.requests()[0]


async def test_unit_and_server_name_are_part_of_every_request(programs, make_unit_spawner):
    spawner = make_unit_spawner(alive=True)
    assert await spawner._signal(15) is True
    await spawner.stop()
    requests = programs.requests()
    assert [request["action"] for request in requests] == ["kill", "stop"]
    assert {(request["unit"], request["server_name"]) for request in requests} == {(UNIT, "")}


async def test_in_user_mode_a_server_is_its_process(programs, make_unit_spawner):
    spawner = make_unit_spawner(alive=True)
    spawner.mode = "user"
    await spawner._signal(15)
    assert "unit" not in programs.requests()[0]


async def end(child):
    child.kill()
    await child.wait()


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"exit": 3, "signal": None}, 3),
        ({"exit": None, "signal": 15}, -15),
        ({"exit": 0, "signal": None}, 0),
        ({}, 0),
        ({"exit": "3", "signal": True}, 0),
    ],
)
async def test_how_a_server_in_a_unit_ended_is_asked_once_and_remembered(
    programs, make_unit_spawner, child, told, status
):
    spawner = make_unit_spawner(alive=False, **told)
    await end(child)
    assert await spawner.poll() == status
    assert await spawner.poll() == status
    assert spawner.get_state() == {}
    (request,) = programs.requests()
    assert (request["action"], request["unit"]) == ("status", UNIT)
    assert (request["pid"], request["server_name"]) == (child.pid, "")
    assert spawner._spawn_future is None, "the page tells of nothing but what the user can mend"


async def test_an_end_that_systemd_has_not_noticed_yet_is_told_later(
    programs, make_unit_spawner, child, monkeypatch
):
    monkeypatch.setattr("sudospawner.watch._PAUSES", (0.01,) * 1000)
    spawner = make_unit_spawner(alive=False)
    await end(child)
    assert await spawner.poll() == 0
    assert spawner._spawn_future is None
    programs.write(reply_with(alive=False, exit=None, signal=9))
    await asyncio.wait_for(spawner._watch._later, LIMIT)
    assert "memory than it may (512 MiB)" in spawner._spawn_future.exception().jupyterhub_message


async def test_nobody_is_asked_how_a_server_without_unit_ended(make_spawner, child):
    spawner = make_spawner("/nonexistent/mediator", mode="root")
    spawner.load_state({"pid": child.pid})
    await end(child)
    assert await spawner.poll() == 0


async def test_an_end_that_nobody_can_tell_of_is_an_end_all_the_same(
    make_unit_spawner, child, caplog
):
    spawner = make_unit_spawner()
    spawner.sudospawner_path = "/nonexistent/mediator"
    spawner.log.propagate = True
    await end(child)
    assert await spawner.poll() == 0
    assert "is not known" in caplog.text


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"exit": None, "signal": 9, "result": "oom-kill"}, "was killed, since it used more"),
        ({"exit": None, "signal": 9}, "as the operating system does with one that uses more"),
    ],
)
async def test_a_server_that_was_killed_for_its_memory_says_so_on_page_and_log(
    make_unit_spawner, child, caplog, told, words
):
    spawner = make_unit_spawner(alive=False, **told)
    spawner.log.propagate = True
    await end(child)
    assert await spawner.poll() == -9
    failure = spawner._spawn_future.exception()
    assert words in failure.jupyterhub_message
    assert "memory than it may (512 MiB)" in failure.jupyterhub_message
    assert "shut down notebooks" in failure.jupyterhub_message
    assert not getattr(failure, "jupyterhub_html_message", "")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == 30]
    assert any(failure.jupyterhub_message in warning for warning in warnings)


async def test_the_failure_of_a_start_that_is_under_way_is_the_hubs_to_tell(
    make_unit_spawner, child
):
    spawner = make_unit_spawner(alive=False, signal=9, result="oom-kill")
    spawner._spawn_future = pending = object()
    await end(child)
    assert await spawner.poll() == -9
    assert spawner._spawn_future is pending


async def test_nobody_is_asked_about_an_end_that_stop_has_brought_about(
    programs, make_unit_spawner, child
):
    spawner = make_unit_spawner(alive=True)
    # A mediator that cannot stop: signals do it.
    programs.write(
        RECORD + "stops = request['action'] == 'stop'\n"
        "if not stops: os.kill(request['pid'], 9)\n"
        "print(json.dumps({'ok': not stops, 'error': 'no', 'alive': True, 'signal': 9}))"
    )
    await spawner.stop()
    await child.wait()
    assert [request["action"] for request in programs.requests()] == ["stop", "kill"]
    assert spawner._spawn_future is None
    assert await spawner.poll() == 0


async def test_what_killed_a_server_is_text(make_unit_spawner, child, caplog):
    spawner = make_unit_spawner(alive=False, result="<b>\x1b[2J")
    spawner.log.propagate = True
    await end(child)
    await spawner.poll()
    message = spawner._spawn_future.exception().jupyterhub_message
    assert message == "The server was ended: <b>\\x1b[2J."
    assert "\x1b" not in caplog.text


async def test_a_new_start_forgets_how_the_server_before_ended(
    programs, make_unit_spawner, make_spawner, child
):
    spawner = make_unit_spawner(alive=False, exit=3)
    await end(child)
    assert await spawner.poll() == 3
    programs.write("print(json.dumps({'ok': False, 'error': 'no'}))")
    with pytest.raises(HTTPError, match="no"):
        await spawner.start()
    assert await spawner.poll() == 0


async def test_a_start_that_ends_for_its_memory_says_so(programs, make_spawner):
    dies = {"ok": False, "code": "exited_early", "error": "Exited with status: -9", "signal": 9}
    spawner = make_spawner(programs.write(reply_with(**dies)), mode="root", mem_limit="64M")
    with pytest.raises(HTTPError) as raised:
        await spawner.start()
    assert "more memory than it may (64 MiB)" in raised.value.jupyterhub_message
    spawner = make_spawner(programs.write(reply_with(**dies)), mode="root")
    with pytest.raises(HTTPError) as raised:
        await spawner.start()
    assert raised.value.jupyterhub_message == "Exited with status: -9"


def test_only_a_kill_under_a_limit_is_put_down_to_memory():
    killed = Ending(signal=9)
    assert killed.explain(None) is None
    assert Ending(signal=15).explain(1 << 20) is None
    assert Ending(exit=1).explain(1 << 20) is None
    assert "(1 MiB)" in killed.explain(1 << 20)
    assert killed.describe() == "by signal 9"
    assert Ending(exit=3).describe() == "with status 3"


@pytest.mark.parametrize(
    ("count", "text"),
    [(1023, "1023 bytes"), (1536, "1.5 KiB"), (512 << 20, "512 MiB"), (2 << 40, "2 TiB")],
)
def test_bytes_are_told_in_the_unit_that_fits(count, text):
    assert format_bytes(count) == text
