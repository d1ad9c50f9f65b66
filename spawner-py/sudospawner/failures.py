"""Failures as JupyterHub shows them: a sentence on the user's page and a code in the metrics."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub.spawner import Spawner
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


def show_why_it_stopped(spawner: Spawner, sentence: str) -> None:
    """Make the Hub's page of a stopped server say why it stopped.

    The page shows the error of the last start, and then only the user can start the server again.
    The Hub offers no other way to show a message there. Needs a running event loop.
    """
    if spawner._spawn_future is not None:
        return
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(make_failure("server_killed", sentence))
    # Retrieved, so that asyncio does not complain if nobody opens the page.
    future.exception()
    spawner._spawn_future = future
