"""The three pipes to a mediator, which can be closed at any time."""

from __future__ import annotations

import asyncio
import io
import os
from contextlib import ExitStack

from .server_log import ServerLog


class Pipes:
    """Both ends of stdin, stdout and stderr.

    They are not asyncio's own: some versions of asyncio do not notice that a process has ended
    while one of their pipes to it is open, and stderr stays open on purpose.
    """

    def __init__(self) -> None:
        """Create the pipes; :meth:`open` also connects our ends to the event loop."""
        with ExitStack() as opened:  # If there are not descriptors for all, none is left open.
            self.child_stdin, self._stdin_file = _open_pipe(opened)
            self._stdout_file, self.child_stdout = _open_pipe(opened)
            self._stderr_file, self.child_stderr = _open_pipe(opened)
            opened.pop_all()

    @classmethod
    async def open(cls) -> Pipes:
        """Create the pipes and connect our ends to the running event loop."""
        pipes = cls()
        loop = asyncio.get_running_loop()
        pipes._stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, pipes._stdin_file)
        pipes.stdout, pipes._stdout = await _connect_reader(pipes._stdout_file)
        pipes.stderr = ServerLog(*await _connect_reader(pipes._stderr_file))
        return pipes

    def send(self, request: bytes) -> None:
        """Write the request in the background, then close stdin."""
        self._stdin.write(request)
        self._stdin.close()

    async def drain_stdout(self) -> None:
        """Read stdout to its end and discard it."""
        await ServerLog(self.stdout, self._stdout).drain()
        self._stdout.close()

    def close_child_ends(self) -> None:
        """Close our copies of the child's ends, so that we see EOF when the child closes them."""
        for end in (self.child_stdin, self.child_stdout, self.child_stderr):
            end.close()

    def close(self) -> None:
        """Close everything: readers get EOF, writers get EPIPE."""
        self.close_child_ends()
        # Do not abort a transport that is already closed: its descriptor may have been reused.
        if not self._stdin.is_closing() or self._stdin.get_write_buffer_size():
            self._stdin.abort()
        self._stdout.close()
        self.stderr.close()


def _open_pipe(opened: ExitStack) -> tuple[io.FileIO, io.FileIO]:
    read_end, write_end = os.pipe()
    reader, writer = io.FileIO(read_end, "rb"), io.FileIO(write_end, "wb")
    return opened.enter_context(reader), opened.enter_context(writer)


async def _connect_reader(pipe: io.FileIO) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    # With the lowest limit, the loop reads from the pipe only when what it has read is wanted.
    reader = asyncio.StreamReader(limit=1)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    return reader, transport
