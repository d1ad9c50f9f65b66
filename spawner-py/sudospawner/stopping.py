"""Ends a server: what is asked of the mediator, and what is said of a server that stays."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any, Callable

from jupyterhub.spawner import LocalProcessSpawner

from .errors import MediatorError
from .identity import Liveness
from .mediator import limit_wait
from .reply import get_error
from .watch import Watch


async def end_server(
    spawner: LocalProcessSpawner,
    watch: Watch,
    tell: Callable[[int, str], None],
    end_by_signals: Callable[[bool], Awaitable[None]],
    *,
    now: bool,
) -> None:
    """Have the mediator end the server, and log what came of it.

    :param spawner: has the time limits, and ``do``.
    :param watch: watches the server.
    :param tell: logs a sentence; the first argument is a logging level.
    :param end_by_signals: ends a server whose mediator cannot; takes ``now``.
    :param now: skip SIGINT.
    :raises MediatorError: if there is no reply, and no wrapper that knows only ``kill``.
    """
    reply = await ask_to_stop(spawner, watch.identify(), now=now)
    if not reply.get("ok"):
        tell(logging.WARNING, f"stop failed: {get_error(reply)}")
        if watch.server.ends_by_signals:
            # A wrapper around a mediator that supports only spawn and kill.
            await end_by_signals(now)
    if not reply.get("ok") or reply.get("alive"):
        await complain_if_alive(watch, tell)
    elif reply.get("leftovers_killed"):
        count = reply["leftovers_killed"]
        tell(logging.INFO, f"its server left {count} processes, which were ended")


async def ask_to_stop(
    spawner: LocalProcessSpawner, fields: dict[str, Any], *, now: bool
) -> dict[str, Any]:
    """Have the mediator stop a server; return its reply, or one that is not ``ok``.

    :param spawner: has the time limits, and ``do``.
    :param fields: the fields of the request that identify the server.
    :param now: skip SIGINT.
    :raises MediatorError: if there is no reply, and no wrapper that knows only ``kill``.
    """
    try:
        return await spawner.do(
            "stop",
            interrupt_seconds=0 if now else limit_wait(spawner.interrupt_timeout),
            term_seconds=limit_wait(spawner.term_timeout),
            kill_seconds=limit_wait(spawner.kill_timeout),
            **fields,
        )
    except MediatorError as error:
        if error.code != "no_reply":
            raise
        return {"ok": False, "error": error.sentence}


async def complain_if_alive(watch: Watch, tell: Callable[[int, str], None]) -> None:
    """Log an error if the server is still alive: the Hub now forgets it."""
    server = watch.server
    server.look_anew()
    if await watch.look() is Liveness.ALIVE:
        tell(logging.ERROR, server.describe_survivor())
