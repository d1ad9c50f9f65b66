"""The reply is found among everything else that may stand on stdout."""

from __future__ import annotations

import pytest

from sudospawner.reply import ReplyParser


def parse(*pieces: bytes):
    events = []
    parser = ReplyParser(events.append)
    for piece in pieces:
        parser.feed(piece)
    parser.finish()
    return parser.reply, events


@pytest.mark.parametrize(
    "stdout",
    [
        b'{"ok": true, "pid": 7}',
        b'{"ok": true, "pid": 7}\n',
        b'Last login: Tue {tty1}\n{"ok": true, "pid": 7}\nGoodbye {you}\n',
        b'Welcome! {"ok": true, "pid": 7} and {more',
        b'{"ok": false, "error": "an earlier one"}\n{"ok": true, "pid": 7}\n',
        b'noise {\n{\n  "ok": true,\n  "pid": 7\n}\n'[8:],
        b'\xff\xfe{"ok": true, "pid": 7}',
    ],
)
def test_the_reply_is_found(stdout):
    assert parse(stdout) == ({"ok": True, "pid": 7}, [])


@pytest.mark.parametrize(
    "stdout",
    [b"", b"{", b"[1]", b'"ok"', b'{"ok": 1}', b'{"pid": 7}', b"{" * 100_000, b'{"a":' * 100_000],
)
def test_what_is_no_reply_is_not_taken_for_one(stdout):
    assert parse(stdout) == (None, [])


def test_a_reply_is_known_when_its_line_is_complete():
    parser = ReplyParser(lambda event: None)
    parser.feed(b'{"ok": tr')
    assert parser.reply is None
    parser.feed(b"ue}")
    assert parser.reply is None
    parser.feed(b"\n")
    assert parser.reply == {"ok": True}


def test_events_are_reported_in_their_order_and_the_reply_is_none_of_them():
    reply, events = parse(b'{"event": "a"}\n{"event": "b"', b'}\n{"ok": true}\n')
    assert reply == {"ok": True}
    assert events == [{"event": "a"}, {"event": "b"}]
