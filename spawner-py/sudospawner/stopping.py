"""Stops a server: what is asked of the mediator, and what is said of a server that stays."""

from __future__ import annotations

import shlex
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner

from .errors import MediatorError
from .mediator import limit_wait
from .printable import escape_control_characters


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


def describe_survivor(pid: int, unit: str) -> str:
    """Return one line about a server that could not be stopped, and what to do."""
    unit = escape_control_characters(unit)
    place = f" in the unit {unit}" if unit else ""
    look = f"systemctl status {shlex.quote(unit)}" if unit else f"ps -fp {pid}"
    return (
        f"its server could not be stopped and may be alive still, as process {pid}{place}; the Hub "
        f"forgets it. Check as root what that is ({look}), and end it"
    )
