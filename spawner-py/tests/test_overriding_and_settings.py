"""What subclasses override keeps working, and settings without effect are told."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from pathlib import Path

import jupyterhub
import pytest
from conftest import LIMIT, RECORD, REPLY, UnderTest
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

import sudospawner
from sudospawner.account import is_name


def test_no_private_name_of_jupyterhub_is_used_for_something_else():
    # The Hub keeps its own notes on spawners under private names, `_server` for one.
    name = re.compile(r"\b(?:self|spawner)\.(_\w+)")
    package = Path(sudospawner.__file__).parent
    ours = {found for file in package.glob("*.py") for found in name.findall(file.read_text())}
    files = (
        Path(jupyterhub.__file__).parent / path for path in ("spawner.py", "user.py", "app.py")
    )
    handlers = Path(jupyterhub.__file__).parent.glob("*handlers/*.py")
    theirs = {found for file in (*files, *handlers) for found in name.findall(file.read_text())}
    assert "_server" in theirs
    # `_spawn_future` is what the Hub itself keeps there: what the last start failed with.
    assert ours & theirs <= {"_log_name", "_signal", "_spawn_future"}


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


@pytest.mark.parametrize(
    "name",
    [
        "#0",
        "-uroot",
        "",
        "+zoe",
        "%zoe",
        " zoe",
        "zoe ",
        "z:e",
        "z/e",
        "z,e",
        "z\ne",
        "z\te",
        "z\x9be",
    ],
)
async def test_a_name_that_sudo_would_take_for_something_else_is_refused(make_spawner, name):
    spawner = make_spawner("/nonexistent/mediator")
    spawner.user.name = name
    with pytest.raises(HTTPError, match="cannot be the name of an account"):
        await spawner.start()


@pytest.mark.parametrize(
    "name", ["zoe", "domain user", "jdoe@ad.example", "AD\\jdoe", "20150123", "pöttering", "z#-+%"]
)
def test_a_name_of_a_directory_is_the_name_of_an_account(name):
    assert is_name(name)


async def test_an_account_that_does_not_exist_is_named(make_spawner):
    class RealEnv(UnderTest):
        def get_env(self):
            return self.user_env({})

    spawner = make_spawner("/nonexistent/mediator", RealEnv)
    spawner.user.name = "no-such-account"
    with pytest.raises(HTTPError, match="no account named no-such-account"):
        await spawner.start()


async def test_in_root_mode_an_account_that_does_not_exist_may_be_made_by_the_mediator(
    programs, make_spawner, child
):
    class RealEnv(UnderTest):
        def get_env(self):
            return self.user_env({"PATH": "/bin"})

    spawner = make_spawner(programs.write(RECORD + REPLY % child.pid), RealEnv, mode="root")
    spawner.user.name = "no-such-account"
    await spawner.start()
    (request,) = programs.requests()
    assert request["env"] == {"PATH": "/bin"}


def test_through_the_socket_an_account_that_does_not_exist_may_be_made_too(make_spawner):
    spawner = make_spawner("", mode="socket")
    spawner.user.name = "no-such-account"
    spawner._latest_start._task = object()
    assert spawner.user_env({"PATH": "/bin"}) == {"PATH": "/bin"}
