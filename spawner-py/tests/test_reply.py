"""The reply is found among everything else that may stand on stdout."""

from __future__ import annotations

import json
import time

import pytest

from sudospawner.reply import (
    EVENT_LIMIT,
    HOOK_LIMIT,
    HOOKS_LEFT_OUT,
    JOB_EVENT_LIMIT,
    ReplyParser,
    get_error,
)


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
    [
        b"",
        b"{",
        b"[1]",
        b'"ok"',
        b'{"ok": 1}',
        b'{"pid": 7}',
        b"{" * 100_000,
        b'{"a":' * 100_000,
        b'{"ok": true, "pid": ' + b"9" * 500_000 + b"}",
        b'{"ok": true, "hooks": ' + b"[" * 100_000 + b"}",
    ],
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
    reply, events = parse(
        b'{"event": "hook", "name": "a"}\n{"event": "st',
        b'arted", "pid": 7}\n{"event": "new"}\n{"ok": true}\n',
    )
    assert reply == {"ok": True}
    assert events == [{"event": "hook", "name": "a"}, {"event": "started", "pid": 7}]


def test_events_behind_the_server_or_the_reply_do_not_count():
    hook, started = b'{"event": "hook"}\n', b'{"event": "started"}\n'
    assert parse(hook, started, hook, started, b'{"ok": true}\n')[1] == [
        {"event": "hook"},
        {"event": "started"},
    ]
    assert parse(b'{"ok": true}\n', hook, started)[1] == []


@pytest.mark.parametrize(
    ("size", "count"), [(0, 2 * HOOK_LIMIT), (EVENT_LIMIT // 8, 7), (EVENT_LIMIT, 0)]
)
def test_so_many_hooks_are_reported_and_then_that_there_are_more(size, count):
    hook = json.dumps({"event": "hook", "output": "x" * size}).encode() + b"\n"
    _, events = parse(hook * (count + 5), b'{"event": "started", "pid": 7}\n')
    kinds = [event["event"] for event in events]
    assert kinds == ["hook"] * count + [HOOKS_LEFT_OUT, "started"]
    _, events = parse(hook * count)
    assert len(events) == count


def test_events_of_a_job_come_behind_those_of_hooks_and_end_with_the_reply():
    hook, job = b'{"event": "hook"}\n', b'{"event": "job", "job": "7"}\n'
    _, events = parse(hook, job, hook, job, b'{"ok": true}\n', job)
    assert [event["event"] for event in events] == ["hook", "job", "job"]
    assert parse(b'{"event": "started", "pid": 7}\n', job)[1] == [{"event": "started", "pid": 7}]


def test_what_cannot_be_in_an_event_of_a_job_is_none():
    told = {"event": "job", "job": "12 34", "started": 5, "state": "RUNNING", "reason": "x" * 2000}
    _, [event] = parse(json.dumps({**told, "host": ["a"], "more": 1}).encode() + b"\n")
    assert event == {
        "event": "job",
        "job": None,
        "started": None,
        "state": "RUNNING",
        "reason": None,
        "host": None,
    }


@pytest.mark.parametrize(
    ("size", "count"), [(0, JOB_EVENT_LIMIT), (EVENT_LIMIT // 8, 7), (EVENT_LIMIT, 0)]
)
def test_of_a_job_only_so_much_is_told(size, count):
    job = json.dumps({"event": "job", "reason": "x" * size}).encode() + b"\n"
    assert len(parse(job * (count + 5))[1]) == count


@pytest.mark.parametrize(
    "stdout",
    [
        b"\n",
        b"{",
        b"{\n",
        b"{}\n",
        b"{}",
        b'{"a":[',
        b'{"event":"hook"}\n',
        b'{"event":"started"}\n',
        b'{"event":"job"}\n',
        b'{"ok":1}',
        b'{"a":1,',
        b"\xff\n",
        b"{\xff\n",
    ],
)
@pytest.mark.parametrize("beginning", [b"", b'{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":['])
def test_a_megabyte_of_anything_costs_little_time(beginning, stdout):
    megabyte = beginning + (stdout * (1 << 20))[: 1 << 20]
    began = time.process_time()
    reply, events = parse(megabyte)
    assert time.process_time() - began < 0.5
    assert reply is None
    assert len(events) <= JOB_EVENT_LIMIT


def test_bytes_that_come_one_by_one_are_soon_too_many():
    parser, pieces = ReplyParser(lambda event: None), 0
    while not parser.is_exhausted:
        parser.feed(b"x")
        pieces += 1
    assert 1000 < pieces < 10_000


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("pid", [0, -1, 10**30, 2**31, 1.5, True, "7", [7], {}]),
        ("started", [7, ["a"], "a" * 500]),
        ("unit", [7, {"a": 1}, "a" * 500]),
        ("job", [7, "", "7a", "-7", "7_1", "\u0667", "7" * 30, ["7"]]),
        ("host", [7, ["a"], "a" * 500]),
        ("port", [0, 65536, "8888", 8888.0, True]),
        ("code", [7, ["usage"], "usage\n[C Hub] down", "a_code_of_my_own", ""]),
        ("error", [7, {}, "a" * 100_000]),
        ("stderr", [7, [1], "a" * 100_000]),
        ("result", [7, {}]),
        ("exit", [1.0, "1", 2**31, False]),
        ("signal", [-9, 9.0, 1000]),
        ("alive", ["no", 1]),
        ("listening", [0]),
        ("leftovers_killed", [-1, "\n3", 1.5]),
        ("seconds", [-1, float("nan"), float("inf"), 1e300, "1"]),
        ("hooks", [5, "x", {"a": 1}]),
        ("limits", [5, "x", [1]]),
    ],
)
def test_what_cannot_be_the_value_of_a_field_is_none(name, wrong):
    for value in wrong:
        stdout = json.dumps({"ok": True, "own": "stays", name: value}).encode()
        assert parse(stdout)[0] == {"ok": True, "own": "stays", name: None}


def test_fields_within_hooks_and_limits_are_looked_at_as_well():
    hook = {"name": "a", "seconds": 0.5, "exit": None}
    told = {
        "ok": True,
        "hooks": [5, hook, {"name": 7, "exit": 10**15, "more": 1}, *[hook] * 100],
        "limits": {"memory": 1 << 30, "cpus": -1, "more": "x" * 1000},
    }
    reply, _ = parse(json.dumps(told).encode())
    assert reply["hooks"][:2] == [hook, {"name": None, "exit": None}]
    assert len(reply["hooks"]) < HOOK_LIMIT
    assert reply["limits"] == {"memory": 1 << 30, "cpus": None}


def test_a_long_error_is_cut_since_the_log_has_it_several_times():
    assert len(get_error({"error": "\u202e" * 32_000})) <= 4096
    assert get_error({"error": "x" * 4096}) == "x" * 4096
