"""Failures as JupyterHub shows them: a sentence on the user's page, a code in its metrics."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.web import HTTPError

from .printable import escape_control_characters, last_lines

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub before 6
    SpawnException = None


class SpawnFailed(HTTPError):
    """What :func:`make_failure` makes where JupyterHub has no SpawnException of its own."""

    def __init__(self, log_message: str) -> None:
        """Make a failure with status 500.

        :param log_message: one line.
        """
        super().__init__(500, log_message)

    @property
    def reason(self) -> str | None:
        """Nothing: the Hub sets it to "error" and then shows a text of its own for that."""
        return None

    @reason.setter
    def reason(self, value: str | None) -> None:
        pass


def make_failure(code: str, sentence: str, stderr: str = "") -> HTTPError:
    """Make the exception that a spawner raises.

    :param code: stable, e.g. ``exited_early``.
    :param sentence: what happened and what to do.
    :param stderr: what the server wrote at last: shown as text, never as HTML, since it may be an
        admin who looks at the page of another user.
    """
    message = escape_control_characters(sentence)
    log_message = message
    lines = last_lines(escape_control_characters(stderr, keep="\n\t"))
    if lines:
        message = f"{message.rstrip('.')}. Its last output:\n{lines}"
        # Before JupyterHub 6 some of its pages show this one.
        log_message = " | ".join(message.replace("\t", " ").splitlines())
    if SpawnException is None:
        failure: Any = SpawnFailed(log_message)
        failure.code = code
    else:
        failure = SpawnException(message, reason=code, log_message=log_message, status_code=500)
    failure.jupyterhub_message = message
    return failure


def make_failed_start(code: str, sentence: str) -> asyncio.Future[None]:
    """Make what the Hub keeps of a start that failed; needs the running event loop.

    The parameters are those of :func:`make_failure`.
    """
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(make_failure(code, sentence))
    # Looked at, so that asyncio does not complain when nobody opens the page.
    future.exception()
    return future
