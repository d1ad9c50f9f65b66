"""The class with the real mediator, without sudo: everything that one account can show alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from conftest import LIMIT
from tornado.web import HTTPError

from sudospawner import identity

pytestmark = pytest.mark.skipif(
    os.getuid() == 0, reason="the mediator refuses root: run these as an ordinary account"
)

SERVER = """
import http.server, sys
port = int(sys.argv[1].partition("=")[2])
http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def mediator(tmp_path):
    """A copy of the installed binary, beside which a test writes its server."""
    binary = Path(sys.executable).with_name("sudospawner")
    (tmp_path / "bin").mkdir()
    return shutil.copy(os.environ.get("SUDOSPAWNER_BINARY", binary), tmp_path / "bin")


@pytest.fixture
def write_server(programs, tmp_path):
    def write(text):
        programs.write(text, "bin/sudospawner-singleuser")

    return write


async def wait_for_end(pid):
    descriptor = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), LIMIT)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def test_a_server_is_started_watched_and_stopped(mediator, write_server, make_spawner):
    write_server(SERVER)
    spawner = make_spawner(mediator)
    ip, port = await spawner.start()
    _, writer = await asyncio.open_connection(ip, port)
    writer.close()
    assert await spawner.poll() is None
    pid = spawner.pid
    await spawner.stop()
    assert spawner.pid == 0
    assert identity.read_stat(pid) is None


async def test_a_new_hub_takes_up_the_server_and_stops_it(mediator, write_server, make_spawner):
    write_server(SERVER)
    spawner = make_spawner(mediator)
    await spawner.start()
    state = spawner.get_state()
    restarted = make_spawner(mediator)
    restarted.load_state(state)
    assert restarted.get_state() == state
    assert await restarted.poll() is None
    await restarted.stop()
    assert await spawner.poll() == 0


async def test_a_server_that_is_killed_is_found_dead(mediator, write_server, make_spawner):
    write_server(SERVER)
    spawner = make_spawner(mediator)
    await spawner.start()
    ending = asyncio.ensure_future(wait_for_end(spawner.pid))
    await asyncio.sleep(0)
    os.kill(spawner.pid, signal.SIGKILL)
    await ending
    assert isinstance(await spawner.poll(), int)
    assert spawner.pid == 0


async def test_a_broken_server_is_explained_by_its_last_lines(mediator, write_server, make_spawner):
    write_server("import a_module_that_does_not_exist")
    spawner = make_spawner(mediator)
    with pytest.raises(HTTPError) as raised:
        await spawner.start()
    assert raised.value.jupyterhub_message.startswith("Exited with status: 1. Its last output:\n")
    assert "No module named 'a_module_that_does_not_exist'" in raised.value.jupyterhub_message
    assert spawner.pid == 0


async def test_a_missing_server_is_named(mediator, make_spawner):
    with pytest.raises(HTTPError, match="sudospawner-singleuser"):
        await make_spawner(mediator).start()


async def test_without_waiting_a_server_that_never_listens_is_started(
    mediator, write_server, make_spawner
):
    write_server("signal.pause()")
    spawner = make_spawner(mediator, wait_for_port=False)
    await spawner.start()
    assert await spawner.poll() is None
    await spawner.stop()


async def test_a_start_that_is_cancelled_leaves_no_server(
    mediator, write_server, make_spawner, life_line
):
    write_server(life_line.HOLD + "signal.pause()")
    spawner = make_spawner(mediator)
    starting = asyncio.ensure_future(spawner.start())
    await life_line.wait_for_start()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert spawner.pid == 0
    await life_line.wait_for_end()


async def test_a_stop_during_the_start_leaves_no_server(
    mediator, write_server, make_spawner, life_line
):
    write_server(life_line.HOLD + "signal.pause()")
    spawner = make_spawner(mediator)
    starting = asyncio.ensure_future(spawner.start())
    await life_line.wait_for_start()
    await spawner.stop()
    with pytest.raises(HTTPError, match="stopped while it started"):
        await starting
    await life_line.wait_for_end()


async def test_what_a_server_leaves_behind_ends_with_it(
    mediator, write_server, make_spawner, life_line
):
    write_server(
        "if os.fork() == 0:\n"
        "    os.setsid()\n    " + life_line.HOLD + "    signal.pause()\n" + SERVER
    )
    spawner = make_spawner(mediator)
    starting = asyncio.ensure_future(spawner.start())
    await life_line.wait_for_start()
    await starting
    await spawner.stop()
    await life_line.wait_for_end()


async def test_the_request_is_understood_in_all_its_fields(mediator, write_server, make_spawner):
    write_server("(folder / 'env').write_text(json.dumps(dict(os.environ)))\n" + SERVER)
    spawner = make_spawner(mediator)
    spawner.environment = {"A": "ü\n=", "PYTHONPATH": "/nonexistent"}
    await spawner.start()
    assert await spawner._signal(0) is True
    assert await spawner._signal(signal.SIGCONT) is True
    reply = await spawner.do("status", **spawner._identify())
    assert reply["alive"] is True
    await spawner.stop()
    env = (Path(mediator).parent.parent / "env").read_text()
    assert json.loads(env)["A"] == "ü\n="
    assert "PYTHONPATH" not in json.loads(env)
