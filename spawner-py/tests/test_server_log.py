"""The log of a server: lines of bounded length, and text that cannot act."""

from __future__ import annotations

import asyncio

import pytest
from tornado.iostream import StreamClosedError

from sudospawner.printable import escape_control_characters, last_lines
from sudospawner.server_log import LINE_LIMIT, TAIL_LIMIT, ServerLog


def make_log(*pieces: bytes) -> ServerLog:
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return ServerLog(reader, asyncio.Transport())


async def test_lines_come_one_by_one_and_then_the_end():
    log = make_log(b"one\ntw", b"o\n\nlast")
    lines = [await log.read_until(b"\n") for _ in range(4)]
    assert lines == [b"one\n", b"two\n", b"\n", b"last"]
    with pytest.raises(StreamClosedError):
        await log.read_until(b"\n")
    assert log.closed()


async def test_a_line_without_end_comes_in_pieces_and_only_the_tail_is_kept():
    log = make_log(b"x" * (10 * LINE_LIMIT), b"end\n")
    pieces = []
    with pytest.raises(StreamClosedError):
        while True:
            pieces.append(await log.read_until(b"\n"))
    assert max(map(len, pieces)) == LINE_LIMIT
    assert b"".join(pieces) == b"x" * (10 * LINE_LIMIT) + b"end\n"
    assert len(log.tail) == TAIL_LIMIT
    assert log.tail.endswith("xend\n")


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
