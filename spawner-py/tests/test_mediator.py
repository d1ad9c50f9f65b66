"""Every call ends within its limits, whatever the program at the other end does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections import Counter

import pytest
from conftest import LIMIT
from tornado.iostream import StreamClosedError

from sudospawner import background, execution, mediator
from sudospawner.command import Command
from sudospawner.mediator import MediatorError
from sudospawner.reply import REPLY_LIMIT
from sudospawner.server_log import LINE_LIMIT


async def test_a_request_goes_in_and_a_reply_comes_out(programs, call):
    program = programs.write(
        "request = json.load(sys.stdin)\n"
        "print(json.dumps({'ok': True, 'action': request['action'], 'size': len(request['a'])}))"
    )
    request = {"action": "kill", "a": "ü" * 500_000}
    assert await call(program, request) == {"ok": True, "action": "kill", "size": 500_000}


async def test_a_refusal_with_exit_status_1_is_a_reply(programs, call):
    program = programs.write("""print('{"ok": false, "code": "usage"}'); sys.exit(1)""")
    assert await call(program) == {"ok": False, "code": "usage"}


async def test_noise_on_both_outputs_does_not_hide_the_reply(programs, call):
    program = programs.write(
        "print('Have a lot of fun {...}')\n"
        "print('sudo: unable to resolve host', file=sys.stderr)\n"
        """print('{"ok": true}')\n"""
        "print('You have mail.')"
    )
    assert await call(program) == {"ok": True}


async def test_events_are_reported_before_the_call_ends(programs, call, life_line):
    program = programs.write(
        """print('{"event": "started", "pid": 7}', flush=True)\n""" + life_line.HOLD + "\n"
        """print('{"ok": true}')"""
    )
    happened = asyncio.Event()
    calling = asyncio.ensure_future(call(program, on_event=lambda event: happened.set()))
    await asyncio.wait_for(happened.wait(), LIMIT)
    assert not calling.done()
    await life_line.wait_for_start()
    assert await calling == {"ok": True}


async def test_the_log_goes_on_when_the_call_has_ended(programs, call, life_line):
    program = programs.write(
        "if os.fork() == 0:\n"
        "    os.close(1)\n    " + life_line.HOLD + "    print('later', file=sys.stderr)\n"
        "else:\n"
        "    print('at once', file=sys.stderr, flush=True)\n"
        """    print('{"ok": true}')"""
    )
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    async def relay(stderr):
        while True:
            await lines.put(await stderr.read_until(b"\n"))

    assert await call(program, relay_log=relay, forgotten=asyncio.Event()) == {"ok": True}
    assert await asyncio.wait_for(lines.get(), LIMIT) == b"at once\n"
    await life_line.wait_for_start()
    assert await asyncio.wait_for(lines.get(), LIMIT) == b"later\n"


@pytest.mark.parametrize("descriptor", [1, 2])
async def test_what_holds_a_pipe_of_a_server_that_is_forgotten_loses_it(
    programs, call, life_line, monkeypatch, descriptor
):
    for module in (mediator, execution):
        monkeypatch.setattr(module, "GRACE", 0.1)
    program = programs.write(
        "if os.fork() == 0:\n"
        f"    os.close({3 - descriptor})\n    "
        + life_line.HOLD
        + "    try:\n"
        + f"        while True: os.write({descriptor}, b'x')\n"
        + "    except BrokenPipeError:\n"
        + "        os._exit(0)\n"
        "else:\n"
        """    print('{"ok": true}')"""
    )
    before, forgotten = count_descriptors(), asyncio.Event()
    assert await call(program, forgotten=forgotten) == {"ok": True}
    await life_line.wait_for_start()
    forgotten.set()
    await life_line.wait_for_end()
    await asyncio.gather(*background.tasks)
    assert count_descriptors() - before == Counter()


async def test_a_relay_that_fails_does_not_block_the_writer(programs, call):
    program = programs.write("print('x\\n' * 1_000_000, file=sys.stderr); print('{\"ok\": true}')")

    async def relay(stderr):
        raise ZeroDivisionError

    assert await call(program, relay_log=relay) == {"ok": True}


async def test_a_mediator_that_hangs_is_ended_at_the_time_limit(programs, call, life_line):
    program = programs.write(life_line.HOLD + "signal.pause()")
    calling = asyncio.ensure_future(call(program, time_limit=10))
    await life_line.wait_for_start()
    with pytest.raises(MediatorError, match=r"no reply within 10\.0 seconds") as failure:
        await calling
    assert failure.value.code == "mediator_timeout"
    await life_line.wait_for_end()


async def test_a_mediator_that_ignores_sigterm_is_killed(programs, call, life_line, monkeypatch):
    for module in (mediator, execution):
        monkeypatch.setattr(module, "GRACE", 0.1)
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    program = programs.write(ignore + life_line.HOLD + "while True: signal.pause()")
    calling = asyncio.ensure_future(call(program))
    await life_line.wait_for_start()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await life_line.wait_for_end()


async def test_a_call_that_is_cancelled_closes_its_pipes(programs, call, life_line):
    # It ignores SIGTERM, as where the Hub may not signal it, and ends because nobody listens.
    program = programs.write(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + life_line.HOLD + "\n"
        "try:\n"
        "    while True: os.write(1, b' ')\n"
        "except BrokenPipeError:\n"
        "    sys.exit(3)"
    )
    calling = asyncio.ensure_future(call(program))
    await life_line.wait_for_start()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await life_line.wait_for_end()


async def test_a_flood_on_stdout_ends_the_call(programs, call, life_line):
    flood = "while True: os.write(1, b'x' * 65536)"
    program = programs.write(life_line.HOLD + flood)
    calling = asyncio.ensure_future(call(program))
    await life_line.wait_for_start()
    with pytest.raises(MediatorError, match=str(REPLY_LIMIT)) as failure:
        await calling
    assert failure.value.code == "reply_too_large"
    await life_line.wait_for_end()


async def test_a_line_of_3_megabytes_in_the_log_holds_nobody_up(programs, call):
    program = programs.write(
        "print('{\"ok\": true}', flush=True)\n"
        "for _ in range(48): os.write(2, b'x' * 65536)\n"
        "os.write(2, b'\\n')"
    )
    sizes = []
    ended = asyncio.Event()

    async def relay(stderr):
        with contextlib.suppress(StreamClosedError):
            while not stderr.closed():
                sizes.append(len(await stderr.read_until(b"\n")))
        ended.set()

    assert await call(program, relay_log=relay, forgotten=asyncio.Event()) == {"ok": True}
    await asyncio.wait_for(ended.wait(), LIMIT)
    assert max(sizes) == LINE_LIMIT


@pytest.mark.parametrize(
    ("program", "status"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)]
)
async def test_a_mediator_that_dies_is_described_with_its_last_words(
    programs, call, program, status
):
    path = programs.write(f"print('\\x1b[1mlast words', file=sys.stderr, flush=True)\n{program}")
    with pytest.raises(MediatorError) as failure:
        await call(path)
    assert failure.value.code == "no_reply"
    assert f"ended with status {status} " in failure.value.sentence
    assert "it said: \\x1b[1mlast words." in failure.value.sentence


async def test_a_call_ends_with_the_mediator_though_another_process_holds_its_stdout(
    programs, call, life_line, monkeypatch, tmp_path
):
    monkeypatch.setattr(mediator, "_LEFT_TO_READ", 0.1)
    os.mkfifo(tmp_path / "release")
    program = programs.write(
        "if os.fork() == 0:\n"
        "    " + life_line.HOLD + "    (folder / 'release').read_text()\n"
        "else:\n"
        "    sys.exit(4)"
    )
    calling = asyncio.ensure_future(call(program))
    await life_line.wait_for_start()
    with pytest.raises(MediatorError, match="ended with status 4"):
        await calling
    (tmp_path / "release").write_text("")
    await life_line.wait_for_end()


async def test_a_mediator_that_reads_nothing_can_still_reply(programs, call):
    program = programs.write("os.close(0); print('{\"ok\": true}')")
    assert await call(program, {"env": {"A": "x" * 1_000_000}}) == {"ok": True}


async def test_a_program_that_does_not_exist_is_named(call):
    with pytest.raises(MediatorError, match="/nonexistent/sudospawner could not be") as failure:
        await call("/nonexistent/sudospawner")
    assert failure.value.code == "mediator_missing"
    with pytest.raises(MediatorError, match="Install sudo") as failure:
        await mediator.call(
            Command(("/nonexistent/sudo",), "x", "zoe", "zoe"), {}, time_limit=LIMIT
        )
    assert failure.value.code == "sudo_missing"


@pytest.mark.parametrize("name", ["a\0b", "lone \ud800"])
async def test_a_name_that_no_command_line_can_carry_is_a_failure_in_words(name):
    with pytest.raises(MediatorError, match="no command line can carry"):
        await mediator.call(Command(("sudo", name), "x", "zoe", "zoe"), {}, time_limit=LIMIT)


async def test_a_complaint_on_stderr_is_what_the_error_says(programs):
    sudo = programs.write("print('sudo: a password is required', file=sys.stderr); sys.exit(1)")
    with pytest.raises(MediatorError, match="NOPASSWD: /opt/jupyterhub") as failure:
        command = Command((sudo,), "/opt/jupyterhub/bin/sudospawner", "zoe", "zoe")
        await mediator.call(command, {}, time_limit=LIMIT)
    assert failure.value.code == "sudo_password_required"


async def test_complaints_are_asked_for_in_english(programs, call, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    program = programs.write(
        "print(json.dumps({'ok': True, **{n: os.environ[n] for n in ('LC_ALL', 'LANGUAGE')}}))"
    )
    assert await call(program) == {"ok": True, "LC_ALL": "C", "LANGUAGE": ""}


async def test_a_mediator_is_in_a_session_of_its_own(programs, call):
    program = programs.write("print(json.dumps({'ok': True, 'own': os.getsid(0) == os.getpid()}))")
    assert await call(program) == {"ok": True, "own": True}


async def test_no_descriptor_is_left_open(programs, call):
    program = programs.write("print('{\"ok\": true}')")
    await call(program)
    await asyncio.gather(*background.tasks)
    before = count_descriptors()
    await call(program)
    await asyncio.gather(*background.tasks)
    # What an earlier test left may be closed meanwhile; nothing may be new, whatever its number.
    assert count_descriptors() - before == Counter()


def count_descriptors():
    """What the descriptors of this process refer to, each pipe and socket by its own number."""
    gc.collect()
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return Counter(os.readlink(link) for link in links if os.path.lexists(link))
