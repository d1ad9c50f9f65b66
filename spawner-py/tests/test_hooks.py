"""Root mode: how the mediator is called, and what is told of the hooks that root runs."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from conftest import RECORD, REPLY, UnderTest
from tornado.web import HTTPError
from traitlets import TraitError

from sudospawner import SudoSpawner
from sudospawner.hooks import Hook

FAILED = {
    "name": "10-s3",
    "status": "failed",
    "exit": 4,
    "signal": None,
    "seconds": 0.25,
    "output": "s3fs: bucket\n<b>zoe</b>\x1b[2J is closed\n",
}
FAILED_LINE = (
    "Hook 10-s3 failed with exit status 4 after 0.2 s: s3fs: bucket | <b>zoe</b>\\x1b[2J is closed"
)
DONE = {**FAILED, "name": "20-quota", "status": "ok", "exit": 0, "seconds": 1, "output": ""}
DONE_LINE = "Hook 20-quota was done in 1.0 s"


def tell(*hooks):
    """A program's lines that write events."""
    events = [json.dumps({"event": "hook", **hook}) for hook in hooks]
    return "".join(f"print({event!r}, flush=True)\n" for event in events)


def running(hook):
    """The same hook before it has ended."""
    return {**hook, "status": "running", "exit": None, "seconds": 0.0, "output": ""}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (FAILED, FAILED_LINE),
        (DONE, DONE_LINE),
        (running(FAILED), "Hook 10-s3 is running"),
        (
            {**FAILED, "exit": None, "signal": 11, "output": ""},
            "Hook 10-s3 failed, killed by signal 11 after 0.2 s",
        ),
        (
            {**FAILED, "exit": None, "output": "it could not be executed: no such file"},
            "Hook 10-s3 failed: it could not be executed: no such file",
        ),
        (
            {**FAILED, "status": "timeout", "exit": None, "seconds": 5.004, "output": ""},
            "Hook 10-s3 took too long and was ended after 5.0 s",
        ),
        (
            {**FAILED, "status": "refused", "exit": None, "output": "it belongs to uid 1000"},
            "Hook 10-s3 was not run: it belongs to uid 1000",
        ),
        ({"name": "a\nb\u2028c", "status": "running"}, "Hook a\\nb\\u2028c is running"),
        ({}, "Hook ? failed"),
    ],
)
def test_each_end_of_a_hook_is_one_line_of_text(told, line):
    assert Hook.read(told).describe() == line


def test_only_the_end_of_a_long_output_is_told():
    told = {**FAILED, "output": "x" * 4000 + "\nlast"}
    assert len(Hook.read(told).describe()) < 600
    assert Hook.read(told).describe().endswith("x | last")


async def test_progress_shows_each_hook_and_how_it_ended_as_text(programs, make_spawner, child):
    program = tell(running(FAILED), FAILED, running(DONE), DONE) + REPLY % child.pid
    spawner = make_spawner(programs.write(program), mode="root")
    starting = asyncio.ensure_future(spawner.start())
    await asyncio.sleep(0)
    news = [event async for event in spawner.progress()]
    messages = [event["message"] for event in news[1:]]
    assert [message for message in messages if "so far" not in message] == [
        "Hook 10-s3 is running",
        FAILED_LINE,
        "Hook 20-quota is running",
        DONE_LINE,
    ]
    assert not any("html_message" in event for event in news)
    await starting
    assert spawner.pid == child.pid


@pytest.mark.parametrize("told_before", [True, False])
async def test_the_log_has_each_result_once_and_failures_as_warnings(
    programs, make_spawner, child, caplog, told_before
):
    reply = {"ok": True, "pid": child.pid, "hooks": [FAILED, DONE]}
    events = tell(running(FAILED), FAILED, running(DONE), DONE) if told_before else ""
    program = programs.write(events + f"print({json.dumps(reply)!r})")
    spawner = make_spawner(program, mode="root")
    spawner.log.propagate = True
    caplog.set_level(logging.INFO, spawner.log.name)
    await spawner.start()
    logged = [
        (record.levelno, record.getMessage())
        for record in caplog.records
        if "Hook " in record.getMessage()
    ]
    assert logged == [
        (logging.WARNING, f"{spawner._log_name}: {FAILED_LINE}"),
        (logging.INFO, f"{spawner._log_name}: {DONE_LINE}"),
    ]


async def test_a_hook_that_stops_the_server_shows_its_last_words_as_text(programs, make_spawner):
    reply = {"ok": False, "code": "hook_failed", "error": "the hook 10-s3 did not succeed"}
    program = tell(running(FAILED), FAILED) + f"print({json.dumps(reply)!r})"
    with pytest.raises(HTTPError) as raised:
        await make_spawner(programs.write(program), mode="root").start()
    assert raised.value.jupyterhub_message == (
        "the hook 10-s3 did not succeed. Its last output:\n"
        "s3fs: bucket\n<b>zoe</b>\\x1b[2J is closed"
    )


async def test_in_user_mode_there_are_no_hooks_whoever_tells_of_them(
    programs, make_spawner, child, caplog
):
    reply = {"ok": True, "pid": child.pid, "hooks": [FAILED, DONE]}
    flood = 'os.write(1, b\'{"event":"hook"}\\n\' * 2000)\n'
    program = tell(running(FAILED), FAILED) + flood + f"print({json.dumps(reply)!r})"
    spawner = make_spawner(programs.write(program))
    caplog.set_level(logging.INFO, spawner.log.name)
    spawner.log.propagate = True
    await spawner.start()
    assert "hook" not in caplog.text.lower()


async def test_of_a_flood_of_hooks_some_are_told_and_that_is_said_once(
    programs, make_spawner, child, caplog
):
    event = json.dumps({"event": "hook", "name": "10-forged", "status": "ok"}) + "\n"
    program = f"os.write(1, {event.encode()!r} * 2000)\n" + REPLY % child.pid
    spawner = make_spawner(programs.write(program), mode="root")
    spawner.log.propagate = True
    caplog.set_level(logging.INFO, spawner.log.name)
    await spawner.start()
    assert caplog.text.count("Hook 10-forged") <= 128
    assert caplog.text.count("of its hooks more is told") == 1


async def test_hooks_that_are_told_of_behind_the_server_are_forged(
    programs, make_spawner, child, caplog
):
    started = json.dumps({"event": "started", "pid": child.pid})
    program = f"print({started!r}, flush=True)\n" + tell(FAILED) + REPLY % child.pid + "\n"
    spawner = make_spawner(programs.write(program + tell(FAILED)), mode="root")
    spawner.log.propagate = True
    await spawner.start()
    assert "Hook" not in caplog.text


async def test_root_mode_differs_in_the_command_line_alone(
    programs, make_spawner, child, monkeypatch
):
    class Calling(SudoSpawner):
        def get_env(self):
            return {}

        def get_args(self):
            return []

    record = RECORD.replace("json.load(sys.stdin)", "sys.argv[1:], json.load(sys.stdin)")
    programs.write(record + REPLY % child.pid, name="sudo")
    monkeypatch.setenv("PATH", str(programs.folder), prepend=":")
    name = None
    for mode in ("user", "root"):
        spawner = make_spawner("/opt/jupyterhub/bin/sudospawner", Calling, mode=mode, port=4567)
        name = spawner.user.name
        await spawner.start()
    (user_argv, user_request), (root_argv, root_request) = programs.requests()
    path = "/opt/jupyterhub/bin/sudospawner"
    assert user_argv == ["-u", name, "-nH", path, "--logging=INFO"]
    root_options = [f"--user={name}", "--action=spawn", "--logging=INFO"]
    assert root_argv == ["-nH", path, *root_options]
    assert root_request == user_request


@pytest.mark.parametrize("mode", ["user", "root"])
async def test_in_root_mode_action_and_server_are_on_the_command_line_as_well(
    programs, make_spawner, child, mode
):
    class Named(UnderTest):
        name = "ürsula's second"

    record = RECORD.replace("json.load(sys.stdin)", "sys.argv[1:], json.load(sys.stdin)")
    program = record + "print(json.dumps({'ok': True, 'alive': True}))"
    spawner = make_spawner(programs.write(program), Named, mode=mode)
    spawner.load_state({"pid": child.pid})
    await spawner.do("stop", **spawner._identify())
    await spawner.do("status", pid=child.pid, server_name="")
    user = f"--user={spawner.user.name}"
    options = [[user, "--action=stop", "--server-name=ürsula's second"], [user, "--action=status"]]
    for (argv, request), expected in zip(programs.requests(), options):
        assert argv == [*(expected if mode == "root" else []), "--logging=INFO"]
        assert f"--action={request['action']}" in expected


def test_a_mode_is_one_of_two(make_spawner):
    with pytest.raises(TraitError, match="root"):
        make_spawner("/nonexistent/mediator", mode="admin")
