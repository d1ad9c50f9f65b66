"""The mediator behind a socket of systemd's: a call without sudo."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import socket
from contextlib import ExitStack, suppress

from .command import SocketCall
from .descriptors import describe_shortage
from .errors import MediatorError
from .pipes import Streams, open_pipe
from .printable import escape_control_characters

# Seconds between two attempts to connect, while those who wait for the door fill its backlog.
_PAUSE = 0.05
_UNIT = "sudospawner.socket"


class Connection:
    """A call that is under way, for as long as the connection is open."""

    def __init__(self, call: SocketCall, streams: Streams) -> None:
        """Use what :meth:`open` has opened."""
        self._call = call
        #: What comes through the connection, as stdout. There is no stderr.
        self.streams = streams
        #: Done when the other end has closed the connection.
        self.ended: asyncio.Future[object] = streams.stdout_ended

    @classmethod
    async def open(cls, call: SocketCall, time_limit: float) -> Connection:
        """Connect to the socket.

        :param call: where, and what the first line says.
        :param time_limit: how long it may take until there is room for the call, in seconds.
        :raises MediatorError: if it is not there, or closed to the Hub.
        :raises OSError: if there are too few descriptors.
        """
        streams = Streams()
        with ExitStack() as opened:
            connection = opened.enter_context(socket.socket(socket.AF_UNIX))
            await _connect(connection, call, time_limit)
            receiving = opened.enter_context(io.FileIO(os.dup(connection.fileno()), "rb"))
            stderr, nobody = open_pipe(opened)
            nobody.close()
            await streams.connect(_Sending(connection), receiving, stderr)
            opened.pop_all()
        return cls(call, streams)

    def send(self, request: bytes) -> None:
        """Write the first line and the request in the background."""
        self.streams.send(self._call.first_line + request)

    def describe_flood(self, limit: int) -> MediatorError:
        """Return the error for what writes more than a reply can have, in bytes."""
        return MediatorError(
            "reply_too_large",
            f"What listens at {self._call.path} wrote more than {limit} bytes without a reply."
            " Check SudoSpawner.socket_path.",
        )

    def describe_silence(self, heard: str) -> MediatorError:
        """Return the error for a call that was closed without a reply.

        :param heard: the last lines of what came.
        """
        told = escape_control_characters(heard) or "nothing"
        return MediatorError(
            "no_reply",
            f"What listens at {self._call.path} closed the connection and gave no reply; it said: "
            f"{told}. As root: {self._call.trial}",
        )

    def describe_delay(self, time_limit: float) -> MediatorError:
        """Return the error for a call that reached its time limit, in seconds."""
        return _describe_delay(self._call, time_limit)

    def explain(self, heard: str) -> None:
        """Return None: nothing stands between the Hub and the mediator."""

    def give_up(self) -> None:
        """Close the connection, which ends a call that is under way."""
        self.streams.close()


class _Sending:
    """The direction in which the Hub writes. Closing it says that the request is complete."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        with suppress(OSError):  # The other end may have closed the connection.
            self._connection.shutdown(socket.SHUT_WR)
        self._connection.close()


async def _connect(connection: socket.socket, call: SocketCall, time_limit: float) -> None:
    connection.setblocking(False)
    clock = asyncio.get_running_loop().time
    deadline = clock() + time_limit
    while True:
        try:
            return connection.connect(call.path)
        except BlockingIOError:
            if clock() >= deadline:
                raise _describe_delay(call, time_limit) from None
            # The backlog is full: unlike other sockets, this one has no event for it.
            await asyncio.sleep(_PAUSE)
        except OSError as error:
            if describe_shortage(error):
                raise
            raise _explain(error, call) from error


def _describe_delay(call: SocketCall, time_limit: float) -> MediatorError:
    return MediatorError(
        "mediator_timeout",
        f"{call.path}, called for {call.target}, gave no reply within {time_limit:.1f} seconds. "
        "Find out what it waits for (the account database, where a directory service is slow; a "
        f"network home; 64 other calls). As root: {call.trial}",
    )


def _explain(error: OSError, call: SocketCall) -> MediatorError:
    if error.errno == errno.EACCES:
        return MediatorError(
            "socket_closed_to_hub",
            f"The Hub's account {call.caller} may not connect to {call.path}{_describe(call.path)}:"
            f" set SocketGroup= of {_UNIT} to its group. As root: systemctl edit {_UNIT}, then "
            f"systemctl daemon-reload && systemctl restart {_UNIT}",
        )
    return MediatorError(
        "socket_missing",
        f"Nothing listens at {call.path} ({error.strerror or error}). As root: "
        f"systemctl enable --now {_UNIT}; or check SudoSpawner.socket_path.",
    )


def _describe(path: str) -> str:
    """Return who may connect, if the Hub can see it."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f" (group {found.st_gid}, mode {found.st_mode & 0o777:04o})"
