"""The class, with small programs where a real mediator cannot be made to behave like that."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import re
from pathlib import Path

import jupyterhub
import pytest
from conftest import LIMIT, RECORD, UnderTest
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from sudospawner import failures, identity
from sudospawner import spawner as spawner_module

REPLY = "print(json.dumps({'ok': True, 'pid': %d}))"


def test_no_private_name_of_jupyterhub_is_used_for_something_else():
    # The Hub keeps its own notes on spawners under private names, `_server` for one.
    name = re.compile(r"\b(?:self|spawner)\.(_\w+)")
    ours = set(name.findall(Path(spawner_module.__file__).read_text()))
    files = (
        Path(jupyterhub.__file__).parent / path for path in ("spawner.py", "user.py", "app.py")
    )
    handlers = Path(jupyterhub.__file__).parent.glob("*handlers/*.py")
    theirs = {found for file in (*files, *handlers) for found in name.findall(file.read_text())}
    assert "_server" in theirs
    assert ours & theirs <= {"_log_name", "_signal"}


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
        "Exited with status: 1\nIts last output:\nTraceback:\n<script>alert(1)</script>\\x1b[31m\n"
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


async def test_a_configured_port_that_is_taken_is_a_failure_at_once(programs, make_spawner):
    spawner = make_spawner(programs.write(RECORD + TAKEN), port=4567)
    with pytest.raises(HTTPError, match="port is taken"):
        await spawner.start()
    assert len(programs.requests()) == 1


async def test_a_mediator_that_hangs_fails_the_start_before_the_hub_gives_up(
    programs, make_spawner, life_line
):
    spawner = make_spawner(programs.write(life_line.HOLD + "signal.pause()"), start_timeout=5)
    starting = asyncio.ensure_future(spawner.start())
    await life_line.wait_for_start()
    with pytest.raises(HTTPError, match="gave no reply within") as raised:
        await asyncio.wait_for(starting, spawner.start_timeout)
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


async def test_an_overridden_relog_stderr_gets_the_lines(programs, make_spawner, child):
    seen = asyncio.Queue()

    class Relogging(UnderTest):
        async def relog_stderr(self, stderr):
            while not stderr.closed():
                try:
                    await seen.put(await stderr.read_until(b"\n"))
                except StreamClosedError:
                    await seen.put(None)

    program = "print('one\\ntwo', file=sys.stderr, flush=True)\n" + REPLY % child.pid
    await make_spawner(programs.write(program), Relogging).start()
    lines = [await asyncio.wait_for(seen.get(), LIMIT) for _ in range(3)]
    assert lines == [b"one\n", b"two\n", None]


async def test_the_log_of_a_server_is_one_prefixed_line_each(
    programs, make_spawner, child, caplog, account
):
    forged = "'\\x1b[2J[C JupyterHub] forged\\r\\n'"
    program = f"sys.stderr.write({forged}); sys.stderr.flush()\n" + REPLY % child.pid
    spawner = make_spawner(programs.write(program))
    arrived = asyncio.Queue()
    handler = logging.Handler()
    handler.emit = lambda record: arrived.put_nowait(record.getMessage())
    caplog.set_level(logging.INFO, spawner.log.name)
    spawner.log.addHandler(handler)
    try:
        await spawner.start()
        message = await asyncio.wait_for(arrived.get(), LIMIT)
    finally:
        spawner.log.removeHandler(handler)
    assert message == f"{account}: \\x1b[2J[C JupyterHub] forged"


async def test_do_may_be_overridden_without_being_a_coroutine_function(
    programs, make_spawner, child
):
    class Calling(UnderTest):
        calls = ()

        def do(self, *args, **kwargs):
            self.calls += (kwargs.get("action") or args[0],)
            return super().do(*args, **kwargs)

    spawner = make_spawner(programs.write(REPLY % child.pid), Calling)
    await spawner.start()
    assert spawner.calls == ("spawn",)


async def test_a_preexec_fn_is_called_in_the_child(programs, make_spawner, child):
    class Marking(UnderTest):
        def make_preexec_fn(self):
            return lambda: os.umask(0o027)

    program = programs.write(
        "(folder / 'umask').write_text(oct(os.umask(0)))\n" + REPLY % child.pid
    )
    await make_spawner(program, Marking).start()
    assert (programs.folder / "umask").read_text() == "0o27"


async def test_settings_without_effect_are_warned_about_once(
    programs, make_spawner, child, caplog, monkeypatch
):
    program = programs.write(REPLY % child.pid)
    for _ in range(2):
        spawner = make_spawner(program, cmd=["jupyter-labhub"], mem_limit="1G")
        spawner.log.propagate = True
        await spawner.start()
    warned = [record.getMessage() for record in caplog.records if "is set, but" in record.message]
    assert len(warned) == 2
    assert ".cmd is set" in warned[0]
    assert ".mem_limit is set" in warned[1]


async def test_settings_at_their_defaults_are_not_warned_about(
    programs, make_spawner, child, caplog
):
    spawner = make_spawner(programs.write(REPLY % child.pid))
    spawner.log.propagate = True
    await spawner.start()
    assert not [record for record in caplog.records if "is set, but" in record.message]


async def test_internal_ssl_is_refused_in_one_sentence(make_spawner):
    spawner = make_spawner("/nonexistent/mediator", internal_ssl=True)
    for refused in (spawner.start(), spawner.move_certs({})):
        with pytest.raises(HTTPError, match="internal_ssl = False"):
            await refused


async def test_variables_that_are_not_text_are_dropped_by_name(
    programs, make_spawner, child, caplog
):
    spawner = make_spawner(programs.write(RECORD + REPLY % child.pid))
    spawner.log.propagate = True
    spawner.environment = {"GOOD": "ü", "LATIN": "caf\udce9", "NUL": "a\0b", "COUNT": 4}
    await spawner.start()
    env = programs.requests()[0]["env"]
    assert env.pop("PATH")
    assert env == {"GOOD": "ü", "COUNT": "4"}
    assert "LATIN" in caplog.text
    assert "caf" not in caplog.text, "a value may be a secret"


@pytest.mark.parametrize("name", ["#0", "-uroot", ""])
async def test_a_name_that_sudo_would_take_for_something_else_is_refused(make_spawner, name):
    spawner = make_spawner("/nonexistent/mediator")
    spawner.user.name = name
    with pytest.raises(HTTPError, match="cannot be the name of an account"):
        await spawner.start()


async def test_an_account_that_does_not_exist_is_named(make_spawner):
    class RealEnv(UnderTest):
        def get_env(self):
            return self.user_env({})

    spawner = make_spawner("/nonexistent/mediator", RealEnv)
    spawner.user.name = "no-such-account"
    with pytest.raises(HTTPError, match="no account named no-such-account"):
        await spawner.start()


async def test_progress_tells_of_the_process_and_ends_with_the_start(
    programs, make_spawner, child, account
):
    event = f"print(json.dumps({{'event': 'started', 'pid': {child.pid}}}), flush=True)\n"
    spawner = make_spawner(programs.write(event + REPLY % child.pid))
    starting = asyncio.ensure_future(spawner.start())
    await asyncio.sleep(0)
    messages = [news["message"] async for news in spawner.progress()]
    assert messages == [
        f"Starting the server as {account}",
        f"Process {child.pid} has started, waiting for it to listen",
    ]
    await starting


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
