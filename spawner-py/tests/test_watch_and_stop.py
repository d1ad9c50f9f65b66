"""A server that runs: it is watched without sudo, and ended in one call."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd

import pytest
from conftest import LIMIT, RECORD, UnderTest
from tornado.web import HTTPError

from sudospawner import execution, identity, mediator


async def test_state_of_another_spawner_is_taken_up_by_pid_and_owner(programs, make_spawner, child):
    spawner = make_spawner("/nonexistent/mediator")
    spawner.load_state({"pid": child.pid})
    assert await spawner.poll() is None
    assert spawner.get_state()["started"].startswith(identity.read_boot_id())
    spawner = make_spawner("/nonexistent/mediator")
    spawner.user.name = next(
        entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != os.getuid()
    )
    spawner.load_state({"pid": child.pid})
    assert await spawner.poll() == 0
    assert spawner.pid == 0


async def test_a_recycled_pid_is_not_taken_for_the_server(make_spawner, child):
    spawner = make_spawner("/nonexistent/mediator")
    spawner.load_state({"pid": child.pid, "started": f"{identity.read_boot_id()}:1"})
    assert await spawner.poll() == 0
    assert spawner.get_state() == {}


async def test_a_stop_is_one_call_with_the_three_times(programs, make_spawner, child):
    program = programs.write(RECORD + "os.kill(request['pid'], 9); print('{\"ok\": true}')")
    spawner = make_spawner(program, interrupt_timeout=3, term_timeout=2, kill_timeout=1)
    spawner.load_state({"pid": child.pid})
    await spawner.stop()
    (request,) = programs.requests()
    assert request.pop("started").startswith(identity.read_boot_id())
    assert request == {
        "action": "stop",
        "pid": child.pid,
        "server_name": "",
        "interrupt_seconds": 3,
        "term_seconds": 2,
        "kill_seconds": 1,
    }
    assert spawner.pid == 0


async def test_a_stop_now_leaves_out_the_interrupt(programs, make_spawner, child):
    program = programs.write(RECORD + "os.kill(request['pid'], 9); print('{\"ok\": true}')")
    spawner = make_spawner(program)
    spawner.load_state({"pid": child.pid})
    await spawner.stop(now=True)
    assert programs.requests()[0]["interrupt_seconds"] == 0


@pytest.mark.parametrize(
    "refusal",
    ['print(\'{"ok": false, "error": "what?"}\')', "sys.exit('TypeError: spawn or kill')"],
)
async def test_a_mediator_that_knows_no_stop_is_sent_signals(
    programs, make_spawner, child, refusal
):
    program = programs.write(
        RECORD + f"if request['action'] == 'stop': {refusal}; sys.exit(1)\n"
        "os.kill(request['pid'], request['signal']); print('{\"ok\": true, \"alive\": true}')"
    )
    spawner = make_spawner(program)
    spawner.load_state({"pid": child.pid})
    await spawner.stop()
    assert [request.get("signal") for request in programs.requests()] == [None, 2]
    assert await asyncio.wait_for(child.wait(), LIMIT) == -2
    assert spawner.pid == 0


async def test_a_stop_that_cannot_be_done_is_an_error_and_leaves_no_pid(make_spawner, child):
    spawner = make_spawner("/nonexistent/mediator")
    spawner.load_state({"pid": child.pid})
    with pytest.raises(HTTPError, match="could not be executed"):
        await spawner.stop()
    assert spawner.pid == 0


@pytest.mark.parametrize(
    "program",
    [
        "sys.exit('killed')",
        "print(json.dumps({'ok': request['action'] != 'stop', 'error': 'no'}))",
        "print(json.dumps({'ok': True, 'alive': True}))",
    ],
)
@pytest.mark.parametrize("unit", ["", "jupyter-zoe.service"])
async def test_a_server_that_outlives_its_stop_is_an_error_with_pid_and_unit(
    programs, make_spawner, child, caplog, program, unit
):
    timeouts = dict.fromkeys(("interrupt_timeout", "term_timeout", "kill_timeout"), 1)
    spawner = make_spawner(programs.write(RECORD + program), mode="root", **timeouts)
    spawner.log.propagate = True
    spawner.load_state({"pid": child.pid, "unit": unit})
    with contextlib.suppress(HTTPError):
        await spawner.stop()
    [error] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert f"process {child.pid}" in error
    assert (f"in the unit {unit}" in error) == bool(unit)
    assert ("systemctl status" if unit else f"ps -fp {child.pid}") in error
    assert spawner.pid == 0


async def test_of_a_server_that_is_gone_nothing_is_said_though_its_stop_failed(
    programs, make_spawner, child, caplog
):
    # Where it has not ended yet, it is sent signals.
    program = programs.write(
        RECORD + "os.kill(request['pid'], 9)\n"
        "with contextlib.suppress(ProcessLookupError):\n"
        "    while True: os.kill(request['pid'], 0); time.sleep(0.01)\n"
        "sys.exit('killed')"
    )
    spawner = make_spawner(program, interrupt_timeout=1)
    spawner.log.propagate = True
    spawner.load_state({"pid": child.pid})
    await spawner.stop()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_of_a_server_that_is_forgotten_nothing_is_read_for_long(
    programs, make_spawner, child, life_line, monkeypatch
):
    for module in (mediator, execution):
        monkeypatch.setattr(module, "GRACE", 0.1)
    program = programs.write(
        f"if os.fork() == 0:\n    {life_line.HOLD}    while True: os.write(2, b'x')\n"
        f"print(json.dumps({{'ok': True, 'pid': {child.pid}}}))"
    )
    spawner = make_spawner(program)
    await spawner.start()
    await life_line.wait_for_start()
    child.kill()
    await child.wait()
    assert await spawner.poll() == 0
    await life_line.wait_for_end()


async def test_the_end_of_a_server_is_noticed_when_its_log_ends(programs, make_spawner):
    program = programs.write(
        "pid = os.fork()\n"
        "if pid == 0: os.close(2); signal.pause()\n"
        "print(json.dumps({'ok': True, 'pid': pid}), flush=True)\n"
        "os.waitpid(pid, 0)"
    )
    spawner = make_spawner(program, poll_interval=3600)
    await spawner.start()
    noticed = asyncio.Event()
    spawner.add_poll_callback(noticed.set)
    spawner.start_polling()
    os.kill(spawner.pid, 9)
    await asyncio.wait_for(noticed.wait(), LIMIT)
    assert spawner.pid == 0


async def test_a_name_of_a_server_is_one_line_in_the_log(programs, make_spawner, caplog):
    class Named(UnderTest):
        _log_name = "zoe:a\n[C Hub] down"

    spawner = make_spawner(programs.write("sys.exit('a\\rline')"), kind=Named)
    spawner.log.propagate = True
    spawner.log.setLevel("DEBUG")
    with pytest.raises(HTTPError):
        await spawner.start()
    lines = [record.getMessage() for record in caplog.records]
    assert any("down: calling" in line for line in lines)
    assert any("down: a\\rline" in line for line in lines)
    assert "\n" not in "".join(lines)


async def test_a_signal_is_sent_with_the_identity(programs, make_spawner, child):
    spawner = make_spawner(programs.write(RECORD + 'print(\'{"ok": true, "alive": true}\')'))
    spawner.load_state({"pid": child.pid})
    assert await spawner._signal(0) is True
    assert await spawner._signal(15) is True
    (request,) = programs.requests()
    assert (request["action"], request["signal"]) == ("kill", 15)
    assert request["started"] == spawner.get_state()["started"]


async def test_a_pid_that_is_set_from_outside_is_watched(make_spawner, child):
    spawner = make_spawner("/nonexistent/mediator")
    spawner.pid = child.pid
    assert await spawner.poll() is None


async def test_a_hidden_server_is_asked_for_once_after_a_restart_of_the_hub(
    programs, make_spawner, child, monkeypatch, tmp_path
):
    boot_id = identity.read_boot_id()
    monkeypatch.setattr(identity, "read_boot_id", lambda: boot_id)
    spawner = make_spawner(programs.write(RECORD + 'print(\'{"ok": true, "alive": true}\')'))
    spawner.load_state({"pid": child.pid, "started": f"{boot_id}:1"})
    monkeypatch.setattr(identity, "_PROC", tmp_path / "hidden")
    assert await spawner.poll() is None
    assert await spawner.poll() is None
    assert [request["action"] for request in programs.requests()] == ["status"]
    child.kill()
    await child.wait()
    assert await spawner.poll() == 0


async def test_a_late_answer_about_a_server_does_not_make_the_hub_forget_the_next(
    programs, make_spawner, child, monkeypatch, tmp_path
):
    boot_id = identity.read_boot_id()
    monkeypatch.setattr(identity, "read_boot_id", lambda: boot_id)
    monkeypatch.setattr(identity, "_PROC", tmp_path / "hidden")
    for name in ("asked", "answer"):
        os.mkfifo(tmp_path / name)
    program = "(folder / 'asked').write_text(''); (folder / 'answer').read_text()\n"
    spawner = make_spawner(programs.write(program + 'print(\'{"ok": true, "alive": false}\')'))
    spawner.load_state({"pid": child.pid, "started": f"{boot_id}:1"})
    polling = asyncio.ensure_future(spawner.poll())
    await asyncio.wait_for(asyncio.to_thread((tmp_path / "asked").read_text), LIMIT)
    spawner.clear_state()
    spawner.load_state({"pid": os.getpid(), "started": f"{boot_id}:2"})
    await asyncio.wait_for(asyncio.to_thread((tmp_path / "answer").write_text, ""), LIMIT)
    assert await asyncio.wait_for(polling, LIMIT) is None
    assert spawner.pid == os.getpid()


async def test_a_hidden_server_of_which_nothing_can_be_learnt_is_not_called_dead(
    programs, make_spawner, child, monkeypatch, tmp_path
):
    refusal = '{"ok": false, "code": "policy_malformed", "error": "no policy"}'
    spawner = make_spawner(programs.write(f"print('{refusal}')"))
    boot_id = identity.read_boot_id()
    monkeypatch.setattr(identity, "read_boot_id", lambda: boot_id)
    spawner.load_state({"pid": child.pid, "started": f"{boot_id}:1"})
    monkeypatch.setattr(identity, "_PROC", tmp_path / "hidden")
    assert await spawner.poll() is None
