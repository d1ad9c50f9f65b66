"""Failures as JupyterHub shows them: a sentence on the user's page and a code in the metrics."""

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
    """The exception of :func:`make_failure` for a JupyterHub without SpawnException."""

    def __init__(self, log_message: str) -> None:
        """Create a failure with HTTP status 500.

        :param log_message: one line.
        """
        super().__init__(500, log_message)

    @property
    def reason(self) -> str | None:
        """Always None: the Hub sets it to "error" and would then show its own text."""
        return None

    @reason.setter
    def reason(self, value: str | None) -> None:
        pass


def make_failure(code: str, sentence: str, stderr: str = "") -> HTTPError:
    """Return the exception for a spawner to raise.

    :param code: a stable code, such as ``exited_early``.
    :param sentence: what happened and what to do.
    :param stderr: the server's last output. It is shown as text, never as HTML, since an admin may
        view another user's page.
    """
    message = escape_control_characters(sentence)
    log_message = message
    lines = last_lines(escape_control_characters(stderr, keep="\n\t"))
    if lines:
        message = f"{message.rstrip('.')}. Its last output:\n{lines}"
        # Some pages of JupyterHub before 6 show the log message.
        log_message = " | ".join(message.replace("\t", " ").splitlines())
    if SpawnException is None:
        failure: Any = SpawnFailed(log_message)
        failure.code = code
    else:
        failure = SpawnException(message, reason=code, log_message=log_message, status_code=500)
    failure.jupyterhub_message = message
    return failure


def make_failed_start(code: str, sentence: str) -> asyncio.Future[None]:
    """Return a future like the one that the Hub keeps of a failed start.

    Takes the parameters of :func:`make_failure`. Needs a running event loop.
    """
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(make_failure(code, sentence))
    # Retrieved, so that asyncio does not complain if nobody opens the page.
    future.exception()
    return future
