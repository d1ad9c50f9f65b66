"""A start: what is asked for, what comes of it, and what is left when it is given up."""

from __future__ import annotations

import asyncio
import json

import pytest
from conftest import LIMIT, RECORD, REPLY
from tornado.web import HTTPError

from sudospawner import failures, identity, ports


async def test_a_reply_with_nothing_but_a_pid_is_enough(programs, make_spawner, child):
    spawner = make_spawner(programs.write(REPLY % child.pid))
    ip, port = await spawner.start()
    assert (ip, port) == ("127.0.0.1", spawner.port)
    assert spawner.pid == child.pid
    assert await spawner.poll() is None
    assert spawner.get_state()["pid"] == child.pid
    assert spawner.get_state()["started"].startswith(identity.read_boot_id())


async def test_a_configured_port_and_ip_are_honoured(programs, make_spawner, child):
    spawner = make_spawner(programs.write(RECORD + REPLY % child.pid), port=4567, ip="10.0.0.1")
    assert await spawner.start() == ("10.0.0.1", 4567)
    (request,) = programs.requests()
    assert request["args"] == ["--port=4567"]
    assert request["wait"]["port"] == 4567
    assert 0 < request["wait"]["seconds"] < spawner.start_timeout
    assert request["server_name"] == ""
    assert request["events"] is True


async def test_waiting_for_the_port_can_be_turned_off(programs, make_spawner, child):
    program = programs.write(RECORD + REPLY % child.pid)
    await make_spawner(program, wait_for_port=False).start()
    assert "wait" not in programs.requests()[0]


DIES = """
print(json.dumps({
    "ok": False, "code": "exited_early", "error": "Exited with status: 1",
    "exit": 1, "signal": None,
    "stderr": "Traceback:\\n<script>alert(1)</script>\\x1b[31m\\nImportError: no yak\\n",
}))
"""


async def test_an_early_end_shows_the_last_lines_as_text(programs, make_spawner):
    spawner = make_spawner(programs.write(DIES))
    with pytest.raises(HTTPError) as raised:
        await spawner.start()
    failure = raised.value
    assert failure.status_code == 500
    assert failure.jupyterhub_message == (
        "Exited with status: 1. Its last output:\nTraceback:\n<script>alert(1)</script>\\x1b[31m\n"
        "ImportError: no yak"
    )
    assert not getattr(failure, "jupyterhub_html_message", "")
    assert not getattr(failure, "message_html", "")
    assert "\n" not in str(failure), "a message in the log is one line"
    assert spawner.pid == 0
    assert await spawner.poll() == 0


async def test_a_failure_has_the_form_of_the_installed_jupyterhub(programs, make_spawner):
    with pytest.raises(HTTPError) as raised:
        await make_spawner(programs.write(DIES)).start()
    failure = raised.value
    if failures.SpawnException is None:
        # The Hub sets it, and would then show a text of its own in place of ours.
        failure.reason = "error"
        assert failure.reason is None
        assert failure.code == "exited_early"
    else:
        assert isinstance(failure, failures.SpawnException)
        assert failure.reason == "exited_early"


TAKEN = 'print(\'{"ok": false, "code": "port_taken", "error": "port is taken"}\')'


async def test_a_random_port_that_is_taken_is_tried_anew_twice(programs, make_spawner):
    spawner = make_spawner(programs.write(RECORD + TAKEN))
    with pytest.raises(HTTPError, match="port is taken"):
        await spawner.start()
    ports = [request["wait"]["port"] for request in programs.requests()]
    assert len(ports) == 3
    assert len(set(ports)) == 3
    assert [f"--port={port}" for port in ports] == [
        request["args"][0] for request in programs.requests()
    ]


async def test_starts_at_once_have_a_port_each_also_if_the_kernel_offers_one_twice(
    programs, make_spawner, life_line, child, monkeypatch
):
    offers = iter([5001, 5001, 5001, 5002, 5001])
    monkeypatch.setattr(ports, "random_port", lambda: next(offers))
    first = make_spawner(programs.write(life_line.HOLD + "signal.pause()", "hangs"))
    starting = asyncio.ensure_future(first.start())
    await life_line.wait_for_start()
    second = make_spawner(programs.write(REPLY % child.pid))
    assert await second.start() == ("127.0.0.1", 5002)
    await first.stop()
    with pytest.raises(HTTPError):
        await starting
    # A start that is over reserves nothing.
    third = make_spawner(programs.write(REPLY % child.pid))
    assert await third.start() == ("127.0.0.1", 5001)


async def test_a_configured_port_that_is_taken_is_a_failure_at_once(programs, make_spawner):
    spawner = make_spawner(programs.write(RECORD + TAKEN), port=4567)
    with pytest.raises(HTTPError, match="port is taken"):
        await spawner.start()
    assert len(programs.requests()) == 1


async def test_a_mediator_that_hangs_fails_the_start_before_the_hub_gives_up(
    programs, make_spawner, life_line
):
    spawner = make_spawner(programs.write(life_line.HOLD + "signal.pause()"), start_timeout=10)
    starting = asyncio.ensure_future(spawner.start())
    await life_line.wait_for_start()
    with pytest.raises(HTTPError, match="gave no reply within") as raised:
        await asyncio.wait_for(starting, LIMIT)
    assert raised.value.status_code == 500
    assert spawner.pid == 0
    await life_line.wait_for_end()


async def test_a_start_that_is_cancelled_ends_the_mediator(programs, make_spawner, life_line):
    spawner = make_spawner(programs.write(life_line.HOLD + "signal.pause()"))
    starting = asyncio.ensure_future(spawner.start())
    await life_line.wait_for_start()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await life_line.wait_for_end()
    assert spawner.pid == 0
    assert await spawner.poll() == 0


async def test_a_stop_during_the_start_ends_the_mediator(programs, make_spawner, life_line):
    spawner = make_spawner(programs.write(life_line.HOLD + "signal.pause()"))
    starting = asyncio.ensure_future(spawner.start())
    await life_line.wait_for_start()
    assert await spawner.poll() is None, "or the Hub would not call stop"
    await spawner.stop()
    with pytest.raises(HTTPError, match="stopped while it started"):
        await starting
    await life_line.wait_for_end()
    assert spawner.pid == 0
    assert await spawner.poll() == 0


async def test_a_server_that_a_given_up_start_has_left_is_stopped(
    programs, make_spawner, life_line, child
):
    program = programs.write(
        RECORD + "if request['action'] == 'spawn':\n"
        f"    print(json.dumps({{'event': 'started', 'pid': {child.pid}}}), flush=True)\n    "
        + life_line.HOLD
        + "    signal.pause()\n"
        "os.kill(request['pid'], 9)\n"
        'print(\'{"ok": true, "alive": false}\')'
    )
    spawner = make_spawner(program)
    starting = asyncio.ensure_future(spawner.start())
    await life_line.wait_for_start()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert spawner.pid == 0
    assert await spawner.poll() is None, "or the Hub would not call stop"
    await spawner.stop()
    await asyncio.wait_for(child.wait(), LIMIT)
    assert programs.requests()[1]["action"] == "stop"
    assert programs.requests()[1]["pid"] == child.pid
    assert await spawner.poll() == 0


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"pid": 10**30},
        {"pid": 2**31},
        {"pid": 0},
        {"pid": "4711"},
        {"pid": 1.5},
        {"pid": [1]},
    ],
)
async def test_a_reply_without_a_pid_that_can_be_is_a_failure_in_words(
    programs, make_spawner, told
):
    event = {"event": "started", **told}
    spawner = make_spawner(
        programs.write(f"print({json.dumps(event)!r})\nprint({json.dumps({'ok': True, **told})!r})")
    )
    with pytest.raises(HTTPError, match=r"has no pid that|gave no reply"):
        await spawner.start()
    assert spawner.pid == 0
    assert await spawner.poll() == 0


async def test_fields_of_a_reply_that_are_nonsense_are_ignored(programs, make_spawner, child):
    nonsense = {"hooks": 5, "started": [1], "unit": 7, "limits": "x", "listening": "no"}
    reply = {"ok": True, "pid": child.pid, **nonsense}
    for mode in ("user", "root"):
        for hooks in (5, [5], [{"seconds": "x", "exit": 1e99, "output": {}}]):
            reply["hooks"] = hooks
            program = programs.write(f"print({json.dumps(reply)!r})")
            spawner = make_spawner(program, mode=mode)
            await spawner.start()
            assert spawner.pid == child.pid
            assert spawner.get_state()["pid"] == child.pid
            assert "unit" not in spawner.get_state()


async def test_a_refusal_of_nonsense_is_a_failure_in_words(programs, make_spawner):
    refusal = {"ok": False, "code": [1], "error": {"a": 1}, "stderr": 7, "exit": 1e99}
    spawner = make_spawner(programs.write(f"print({json.dumps(refusal)!r})"))
    with pytest.raises(HTTPError, match="gave no reason"):
        await spawner.start()


async def test_progress_tells_of_the_server_and_ends_with_the_start(
    programs, make_spawner, child, account
):
    event = f"print(json.dumps({{'event': 'started', 'pid': {child.pid}}}), flush=True)\n"
    spawner = make_spawner(programs.write(event + REPLY % child.pid))
    starting = asyncio.ensure_future(spawner.start())
    await asyncio.sleep(0)
    messages = [news["message"] async for news in spawner.progress()]
    assert [message for message in messages if "so far" not in message] == [
        f"Starting the server as {account}",
        "The server has started, and is loading",
    ]
    await starting
