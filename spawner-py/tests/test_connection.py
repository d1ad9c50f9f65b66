"""A call through a socket ends within the limits of every call, whatever the other end does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Callable

import pytest
from conftest import LIMIT

from sudospawner import SudoSpawner, background, checking, mediator
from sudospawner.command import SocketCall
from sudospawner.mediator import MediatorError
from sudospawner.reply import REPLY_LIMIT

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b'{"ok": true}\n'


@pytest.fixture
def path(tmp_path) -> str:
    """Where the socket is."""
    return str(tmp_path / "socket")


@contextlib.asynccontextmanager
async def door_at(path: str, serve: Serve) -> AsyncIterator[None]:
    """Something that listens at the path."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(answer, path, limit=16 << 20)
    try:
        yield
    finally:
        server.close()
        while background.tasks:
            await asyncio.wait(background.tasks)


async def call(path: str, request: dict[str, object] | None = None, limit: float = LIMIT, **how):
    """One call for zoe."""
    request = {"action": "kill", **(request or {})}
    command = SocketCall(path, "kill", "zoe")
    return await mediator.call(command, request, time_limit=limit, **how)


async def test_the_first_line_says_what_and_for_whom_and_the_request_has_an_end(path):
    received = []

    async def serve(reader, writer):
        received.append(await reader.read(-1))
        writer.write(b'{"event": "started", "pid": 7}\n' + OK)

    events = []
    async with door_at(path, serve):
        assert await call(path, {"a": "ü"}, on_event=events.append) == {"ok": True}
    assert received == [b'kill zoe\n{"action": "kill", "a": "\\u00fc"}']
    assert [event["pid"] for event in events] == [7]


async def test_a_refusal_counts_although_the_request_is_not_read(path):
    """The kernel resets a connection that is closed with something unread in it."""

    async def serve(reader, writer):
        writer.transport.pause_reading()
        writer.write(b'{"ok": false, "code": "request_too_large"}\n')
        await writer.drain()

    async with door_at(path, serve):
        reply = await call(path, {"a": "x" * (4 << 20)})
    assert reply == {"ok": False, "code": "request_too_large"}


async def test_what_listens_and_closes_without_a_reply_is_said_so(path):
    async def serve(reader, writer):
        await reader.read(-1)
        writer.write(b"\x1b[2J")

    async with door_at(path, serve):
        with pytest.raises(MediatorError) as caught:
            await call(path)
    assert caught.value.code == "no_reply"
    sentence = str(caught.value)
    assert "[2J" in sentence and "\x1b" not in sentence and "sudospawner.service" in sentence


async def test_what_writes_without_end_is_given_up(path):
    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 4096)
                await writer.drain()

    async with door_at(path, serve):
        with pytest.raises(MediatorError) as caught:
            await call(path)
    assert (caught.value.code, str(REPLY_LIMIT) in str(caught.value)) == ("reply_too_large", True)


def never_reply(begun, closed):
    """Serve without a reply; say when the request is complete, and when the caller is gone."""

    async def serve(reader, writer):
        await reader.read(-1)
        begun.set()
        # The Hub's direction is at its end: that the other one is closed, only a writer notices.
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        closed.set()

    return serve


async def test_what_never_replies_is_given_up_and_told_so(path):
    closed = asyncio.Event()
    async with door_at(path, never_reply(asyncio.Event(), closed)):
        with pytest.raises(MediatorError) as caught:
            await call(path, limit=0.2)
        await asyncio.wait_for(closed.wait(), LIMIT)
    assert caught.value.code == "mediator_timeout"


async def test_a_call_that_is_cancelled_closes_the_connection_and_leaves_no_descriptor(path):
    begun, closed = asyncio.Event(), asyncio.Event()
    async with door_at(path, never_reply(begun, closed)):
        before = len(os.listdir("/proc/self/fd"))
        calling = asyncio.ensure_future(call(path))
        await asyncio.wait_for(begun.wait(), LIMIT)
        calling.cancel()
        await asyncio.wait({calling})
        await asyncio.wait_for(closed.wait(), LIMIT)
    await asyncio.sleep(0)
    # The server's own is closed now, too.
    assert len(os.listdir("/proc/self/fd")) < before


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_socket_without_anybody_is_said_with_what_starts_it(path, is_there):
    with socket.socket(socket.AF_UNIX) as nobody:
        if is_there:
            nobody.bind(path)
        with pytest.raises(MediatorError) as caught:
            await call(path)
    assert caught.value.code == "socket_missing"
    assert "systemctl enable --now sudospawner.socket" in str(caught.value)


async def test_a_path_that_no_socket_can_have_is_a_missing_one():
    with pytest.raises(MediatorError) as caught:
        await call("/run/" + "x" * 200)
    assert caught.value.code == "socket_missing"


@pytest.mark.parametrize("has_room_later", [True, False])
async def test_a_full_backlog_is_waited_for(path, has_room_later):
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        filling = stack.enter_context(socket.socket(socket.AF_UNIX))
        filling.connect(path)
        calling = asyncio.ensure_future(call(path, limit=LIMIT if has_room_later else 0.3))
        await asyncio.sleep(0.15)
        assert not calling.done()
        if not has_room_later:
            with pytest.raises(MediatorError) as caught:
                await calling
            assert caught.value.code == "mediator_timeout"
            return
        stack.enter_context(listener.accept()[0])
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        connection, _ = await asyncio.wait_for(loop.sock_accept(listener), LIMIT)
        with connection:
            await loop.sock_sendall(connection, OK)
            assert await calling == {"ok": True}


async def test_a_spawner_in_this_mode_calls_the_socket_and_looks_for_no_sudo(
    path, make_spawner, monkeypatch
):
    async def serve(reader, writer):
        await reader.read(-1)
        writer.write(b'{"ok": true, "alive": false}\n')

    monkeypatch.setenv("PATH", "/nowhere")
    spawner: SudoSpawner = make_spawner(
        "/no/such/sudospawner", SudoSpawner, mode="socket", socket_path=path
    )
    async with door_at(path, serve):
        assert (await spawner.do("kill", pid=99, signal=0))["alive"] is False


async def test_the_check_is_told_of_the_socket(path, programs, make_spawner, monkeypatch):
    """Of a Hub whose start was not noticed, at the first start of a server."""
    monkeypatch.setattr(checking, "_is_done", False)
    program = programs.write(
        "print(json.dumps({'ok': True, 'findings': []}))\n"
        "(folder / 'words').write_text(str(sys.argv))"
    )
    spawner = make_spawner(program, SudoSpawner, mode="socket", socket_path=path)
    checking.check_once(spawner)
    await asyncio.gather(*checking._tasks)
    words = (Path(program).parent / "words").read_text()
    assert f"'--mode=socket', '--path={program}', '--socket={path}'" in words
