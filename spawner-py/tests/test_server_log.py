"""The log of a server: lines of bounded length, and text that cannot act."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time

import pytest
from conftest import LIMIT
from tornado.iostream import StreamClosedError

from sudospawner import server_log
from sudospawner.pipes import Pipes
from sudospawner.printable import escape_control_characters, last_lines
from sudospawner.server_log import LINE_LIMIT, TAIL_LIMIT, ServerLog

REMARK = re.compile(rb"(\d+) lines of this server's log were left out")


class Clock:
    """Stands still until a test moves it, or goes on by a step whenever it is asked."""

    now = 1000.0

    def __init__(self, step: float = 0) -> None:
        self._step = step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


def make_log(*pieces: bytes, clock: Clock | None = None) -> ServerLog:
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return ServerLog(reader, asyncio.Transport(), clock or Clock())


async def read_all(log: ServerLog) -> tuple[list[bytes], int]:
    """The lines that come of a log, and how many were left out in all."""
    lines, left_out = [], 0
    while not log.closed():
        try:
            line = await log.read_until(b"\n")
        except StreamClosedError:
            break
        if remark := REMARK.match(line):
            left_out += int(remark[1])
        else:
            lines.append(line)
    return lines, left_out


async def test_lines_come_one_by_one_and_then_the_end():
    log = make_log(b"one\ntw", b"o\n\nlast")
    lines = [await log.read_until(b"\n") for _ in range(4)]
    assert lines == [b"one\n", b"two\n", b"\n", b"last"]
    with pytest.raises(StreamClosedError):
        await log.read_until(b"\n")
    assert log.closed()


async def test_a_line_without_end_comes_in_pieces_and_only_the_tail_is_kept():
    log = make_log(b"x" * (10 * LINE_LIMIT), b"end\n")
    pieces, _ = await read_all(log)
    assert max(map(len, pieces)) == LINE_LIMIT
    assert b"".join(pieces) == b"x" * (10 * LINE_LIMIT) + b"end\n"
    assert len(log.tail) == TAIL_LIMIT
    assert log.tail.endswith("xend\n")


async def test_of_a_flood_so_many_lines_come_at_once_and_the_others_are_counted():
    lines, left_out = await read_all(make_log(b"x\n" * 100_000))
    assert len(lines) == 1000
    assert left_out == 99_000


async def test_of_a_flood_that_goes_on_so_many_lines_come_a_second(monkeypatch):
    monkeypatch.setattr(server_log, "_PAUSE", 0)
    clock = Clock(step=0.001)
    lines, left_out = await read_all(make_log(b"x\n" * 1_000_000, clock=clock))
    assert 1000 < len(lines) <= 1000 + 200 * (clock.now - Clock.now)
    assert len(lines) + left_out == 1_000_000


async def test_a_long_line_counts_as_several():
    lines, left_out = await read_all(make_log(b"x" * (100 * LINE_LIMIT)))
    assert len(lines) < 20
    assert left_out > 0
    lines, left_out = await read_all(make_log((b"x" * 99 + b"\n") * 1000))
    assert (len(lines), left_out) == (1000, 0)


async def test_what_was_left_out_is_said_once_in_a_while():
    clock, reader = Clock(), asyncio.StreamReader()
    log = ServerLog(reader, asyncio.Transport(), clock)
    reader.feed_data(b"x\n" * 3000)
    for _ in range(1000):
        assert await log.read_until(b"\n") == b"x\n"
    reading = asyncio.ensure_future(log.read_until(b"\n"))
    for _ in range(10):
        reader.feed_data(b"x\n")
        await asyncio.sleep(0.01)
    assert not reading.done()
    clock.now += 5
    reader.feed_data(b"y\n")
    # A line that had not been read before the time came is passed on.
    left_out = int(REMARK.match(await reading)[1])
    while (line := await log.read_until(b"\n")) != b"y\n":
        assert line == b"x\n"
        left_out += 1
    assert left_out == 2010


async def test_what_was_left_out_is_said_though_nothing_more_comes(monkeypatch):
    monkeypatch.setattr(server_log, "_REMARK_INTERVAL", 0.1)
    reader = asyncio.StreamReader()
    log = ServerLog(reader, asyncio.Transport())
    reader.feed_data(b"x\n" * 5000)
    while not REMARK.match(await asyncio.wait_for(log.read_until(b"\n"), LIMIT)):
        pass


async def test_bytes_that_are_written_one_by_one_wake_the_hub_seldom(monkeypatch):
    feeds, feed_data = 0, asyncio.StreamReader.feed_data

    def count_and_feed(reader: asyncio.StreamReader, data: bytes) -> None:
        nonlocal feeds
        feeds += 1
        feed_data(reader, data)

    def write() -> None:
        for _ in range(30_000):
            os.write(pipes.child_stderr.fileno(), b"x")
        pipes.close_child_ends()

    monkeypatch.setattr(asyncio.StreamReader, "feed_data", count_and_feed)
    pipes = await Pipes.open()
    began = time.monotonic()
    writing = asyncio.ensure_future(asyncio.to_thread(write))
    pieces, left_out = await read_all(pipes.stderr)
    pauses = (time.monotonic() - began) / server_log._PAUSE
    await writing
    pipes.close()
    assert (len(b"".join(pieces)), left_out) == (30_000, 0)
    assert feeds <= 4 * (2 + pauses)


async def test_between_two_lines_that_are_there_the_others_have_their_turn():
    log = make_log(b"x\n" * 1000)
    turns = 0

    async def take_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.ensure_future(take_turns())
    for _ in range(1000):
        await log.read_until(b"\n")
    others.cancel()
    assert turns >= 1000 / 50


async def test_a_flood_that_nobody_wants_is_read_with_pauses(monkeypatch):
    pauses = []

    async def sleep(seconds, asleep=asyncio.sleep):
        pauses.append(seconds)
        await asleep(0)

    log = make_log(b"x\n" * 500_000)
    monkeypatch.setattr(server_log.asyncio, "sleep", sleep)
    await log.drain()
    assert sum(pauses) >= 0.5


async def test_twelve_floods_leave_the_loop_to_the_others(make_spawner):
    spawner = make_spawner("/nonexistent/mediator")
    logged = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    spawner.log = logging.Logger("flooded")
    spawner.log.addHandler(handler)
    loop = asyncio.get_running_loop()
    began = loop.time()
    writers, relays = [], []
    for _ in range(12):
        pipes = await Pipes.open()
        yes = await asyncio.create_subprocess_exec("yes", "x", stdout=pipes.child_stderr)
        pipes.close_child_ends()
        writers.append((yes, pipes))
        relays.append(asyncio.ensure_future(spawner.relog_stderr(pipes.stderr)))
    worst = 0.0
    while (looked := loop.time()) < began + 3:
        await asyncio.sleep(0.001)
        worst = max(worst, loop.time() - looked)
    for yes, pipes in writers:
        yes.kill()
        await yes.wait()
        pipes.close()
    await asyncio.wait(relays, timeout=LIMIT)
    assert worst < 1
    lines = sum("left out" not in message for message in logged)
    assert 12 * 1000 <= lines <= 12 * (1000 + 200 * (loop.time() - began))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain", "plain"),
        ("Grüße 🦀", "Grüße 🦀"),
        ("a\nroot logged in", "a\\nroot logged in"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u202eb\u2028c\x9b", "a\\u202eb\\u2028c\\x9b"),
        ("lone \udc80", "lone \\udc80"),
    ],
)
def test_control_characters_are_written_out(text, escaped):
    assert escape_control_characters(text) == escaped


def test_a_text_of_several_lines_may_keep_them():
    assert escape_control_characters("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


def test_the_last_lines_are_few_and_short():
    assert last_lines("a\n\nb\nc\n", count=2) == "b\nc"
    assert len(last_lines("x" * 5000)) == 2000
