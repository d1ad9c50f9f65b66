"""A mediator's stderr, which carries the server's log for as long as the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Callable

from tornado.iostream import StreamClosedError

from .printable import escape_control_characters

#: A longer line is returned in pieces of this size (in bytes), so that no server can fill the
#: Hub's memory.
LINE_LIMIT = 16 * 1024
#: How much of the end is kept for error messages, in bytes.
TAIL_LIMIT = 8 * 1024

# The rate limit of a server's log: lines per second, and lines at once. A line counts as one more
# for each _LINE bytes in it.
_LINES_PER_SECOND = 200
_LINES_AT_ONCE = 1000
_LINE = 256
# Seconds between two remarks about dropped lines.
_REMARK_INTERVAL = 5.0
# The capacity of a pipe in bytes, and the pause in seconds between two reads. So a server that
# floods its log takes little of the Hub's time, also if it writes each byte by itself.
_CHUNK = 64 * 1024
_PAUSE = 0.05


class ServerLog:
    """A stream of lines with the two methods that ``SudoSpawner.relog_stderr`` may rely on.

    As in tornado's streams, these are ``await read_until(b"\\n")``, which raises
    :class:`tornado.iostream.StreamClosedError` at the end, and ``closed()``. Lines beyond the rate
    limit are dropped; a line in the stream says how many.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        transport: asyncio.BaseTransport,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Read from one end of a pipe.

        :param reader: receives the bytes.
        :param transport: the pipe itself, which :meth:`close` closes.
        :param clock: returns the time in seconds; by default the running event loop's clock.
        """
        self._reader = reader
        self._transport = transport
        self._clock = clock or asyncio.get_running_loop().time
        self._buffer = bytearray()
        self._tail = bytearray()
        self._ended = False
        self._pause = 0.0  # Before the next read; none before the first.
        self._allowance = float(_LINES_AT_ONCE)
        self._allowed_at = self._clock()
        self._left_out = 0
        self._remark_at = 0.0

    @property
    def tail(self) -> str:
        """The last 8 KiB that were read, as text, with control characters unescaped."""
        return self._tail.decode("utf-8", "replace")

    def closed(self) -> bool:
        """Whether everything has been read, or reading was given up."""
        return self._ended and not self._buffer and not self._left_out

    def close(self) -> None:
        """Stop reading: writers to the pipe get EPIPE from now on."""
        self._transport.close()

    async def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> bytes:
        """Return the bytes up to and including the delimiter.

        Returns a piece without the delimiter when it reaches LINE_LIMIT (or max_bytes), and at the
        end. Each call yields to the event loop once, even if data is already there.

        :raises tornado.iostream.StreamClosedError: when there is nothing more.
        """
        await asyncio.sleep(0)
        limit = min(max_bytes or LINE_LIMIT, LINE_LIMIT)
        while True:
            if self._left_out and (self._is_at_end() or self._clock() >= self._remark_at):
                return self._remark() + delimiter
            length = self._find_piece(delimiter, limit)
            if length and self._allow(length):
                piece = bytes(self._buffer[:length])
                del self._buffer[:length]
                return piece
            if length:
                self._leave_out(delimiter, length)
            elif self._ended:
                raise StreamClosedError()
            else:
                await self._read_more()

    async def drain(self) -> None:
        """Read to the end and discard it, so that no writer blocks on a full pipe."""
        self._left_out = 0
        while not self._ended:
            self._buffer.clear()
            await self._read_more()
        self._buffer.clear()

    def _is_at_end(self) -> bool:
        return self._ended and not self._buffer

    def _find_piece(self, delimiter: bytes, limit: int) -> int:
        """Return the length of the next piece, 0 if it is not complete yet."""
        found = self._buffer.find(delimiter)
        if found >= 0:
            return min(found + len(delimiter), limit)
        is_piece = self._ended or len(self._buffer) >= limit
        return min(len(self._buffer), limit) if is_piece else 0

    def _allow(self, length: int) -> bool:
        """Deduct a piece from the server's allowance; False if the allowance is too small."""
        now = self._clock()
        grown = self._allowance + (now - self._allowed_at) * _LINES_PER_SECOND
        self._allowance, self._allowed_at = min(grown, _LINES_AT_ONCE), now
        lines = 1 + length // _LINE
        if lines > self._allowance:
            return False
        self._allowance -= lines
        return True

    def _leave_out(self, delimiter: bytes, length: int) -> None:
        """Drop all the lines in the buffer in bulk, so that a flood of them costs little."""
        if not self._left_out:
            self._remark_at = self._clock() + _REMARK_INTERVAL
        end = max(length, self._buffer.rfind(delimiter) + len(delimiter))
        self._left_out += max(1, self._buffer.count(delimiter, 0, end))
        del self._buffer[:end]

    def _remark(self) -> bytes:
        count, self._left_out = self._left_out, 0
        return b"%d lines of this server's log were left out: it may have %d a second" % (
            count,
            _LINES_PER_SECOND,
        )

    async def _read_more(self) -> None:
        """Read at least one byte; none only at the end, or when a remark is due."""
        await asyncio.sleep(self._pause)
        self._pause = _PAUSE
        wait = max(0.0, self._remark_at - self._clock()) if self._left_out else None
        try:
            chunk = await asyncio.wait_for(self._reader.read(_CHUNK), wait)
        except asyncio.TimeoutError:
            return
        self._ended = not chunk
        self._buffer += chunk
        self._tail += chunk
        del self._tail[:-TAIL_LIMIT]


async def read_lines(stderr: ServerLog) -> AsyncIterator[str]:
    """Yield each non-empty line as text, with control characters escaped."""
    while not stderr.closed():
        try:
            line = await stderr.read_until(b"\n")
        except StreamClosedError:
            return
        text = escape_control_characters(line.decode("utf-8", "replace").rstrip("\r\n"))
        if text:
            yield text
