"""The three pipes to a mediator, which can be closed at any time."""

from __future__ import annotations

import asyncio
import io
import os
from contextlib import ExitStack
from typing import Any, Protocol

from .server_log import ServerLog


class OurEnd(Protocol):
    """A file of the event loop's: it has a descriptor, and closing it ends what it carries."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def close(self) -> None:
        """Close it."""


class Streams:
    """Our ends of stdin, stdout and stderr, connected to the event loop."""

    async def connect(self, stdin: OurEnd, stdout: OurEnd, stderr: OurEnd) -> None:
        """Connect our ends to the running event loop."""
        end: Any = stdin
        loop = asyncio.get_running_loop()
        self._stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, end)
        #: Done when stdout has been read to its end, or is closed.
        self.stdout_ended = loop.create_future()
        self.stdout, self._stdout = await _connect_reader(stdout, self.stdout_ended)
        self.stderr = ServerLog(*await _connect_reader(stderr, loop.create_future()))

    def send(self, request: bytes) -> None:
        """Write the request in the background, then close stdin."""
        self._stdin.write(request)
        self._stdin.close()

    async def drain_stdout(self) -> None:
        """Read stdout to its end and discard it."""
        await ServerLog(self.stdout, self._stdout).drain()
        self._stdout.close()

    def close(self) -> None:
        """Close everything: readers get EOF, writers get EPIPE."""
        # Do not abort a transport that is already closed: its descriptor may have been reused.
        if not self._stdin.is_closing() or self._stdin.get_write_buffer_size():
            self._stdin.abort()
        self._stdout.close()
        self.stderr.close()


class Pipes(Streams):
    """Both ends of stdin, stdout and stderr.

    They are not asyncio's own: some versions of asyncio do not notice that a process has ended
    while one of their pipes to it is open, and stderr stays open on purpose.
    """

    def __init__(self) -> None:
        """Create the pipes; :meth:`open` also connects our ends to the event loop."""
        with ExitStack() as opened:  # If there are not descriptors for all, none is left open.
            self.child_stdin, self._stdin_file = open_pipe(opened)
            self._stdout_file, self.child_stdout = open_pipe(opened)
            self._stderr_file, self.child_stderr = open_pipe(opened)
            opened.pop_all()

    @classmethod
    async def open(cls) -> Pipes:
        """Create the pipes and connect our ends to the running event loop."""
        pipes = cls()
        await pipes.connect(pipes._stdin_file, pipes._stdout_file, pipes._stderr_file)
        return pipes

    def close_child_ends(self) -> None:
        """Close our copies of the child's ends, so that we see EOF when the child closes them."""
        for end in (self.child_stdin, self.child_stdout, self.child_stderr):
            end.close()

    def close(self) -> None:
        """Close everything: readers get EOF, writers get EPIPE."""
        self.close_child_ends()
        super().close()


def open_pipe(opened: ExitStack) -> tuple[io.FileIO, io.FileIO]:
    """Open a pipe and return where it is read and where it is written.

    :param opened: closes both.
    """
    read_end, write_end = os.pipe()
    reader, writer = io.FileIO(read_end, "rb"), io.FileIO(write_end, "wb")
    return opened.enter_context(reader), opened.enter_context(writer)


class _Reading(asyncio.StreamReaderProtocol):
    """Reads to the end, also of a connection that is reset: what has come before counts."""

    def __init__(self, reader: asyncio.StreamReader, ended: asyncio.Future[None]) -> None:
        super().__init__(reader)
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None)
        if not self._ended.done():
            self._ended.set_result(None)


async def _connect_reader(
    end: Any, ended: asyncio.Future[None]
) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    # With the lowest limit, the loop reads from the pipe only when what it has read is wanted.
    reader = asyncio.StreamReader(limit=1)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: _Reading(reader, ended), end
    )
    return reader, transport
