"""The stderr of a mediator, through which the log of the server comes for as long as it lives."""

from __future__ import annotations

import asyncio

from tornado.iostream import StreamClosedError

#: A longer line is handed on in pieces of this size, so that no server can fill the Hub's memory.
LINE_LIMIT = 16 * 1024
#: How much of the end is remembered for error messages, in bytes.
TAIL_LIMIT = 8 * 1024

_CHUNK = 16 * 1024
# A server that floods its log gets this share of the Hub's time at most; what does not fit waits
# in the pipe, and the supervisor drops lines rather than block the server.
_SHARE = 0.25


class ServerLog:
    """A stream of lines with the two methods that ``SudoSpawner.relog_stderr`` is promised.

    They are those of tornado's streams: ``await read_until(b"\\n")``, which raises
    :class:`tornado.iostream.StreamClosedError` at the end, and ``closed()``.
    """

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport) -> None:
        """Read from one end of a pipe.

        :param reader: where the bytes arrive.
        :param transport: the pipe itself, which :meth:`close` closes.
        """
        self._reader = reader
        self._transport = transport
        self._buffer = bytearray()
        self._tail = bytearray()
        self._ended = False
        self._full_chunk_at: float | None = None

    @property
    def tail(self) -> str:
        """The last lines that were read, as text (control characters still in it)."""
        return self._tail.decode("utf-8", "replace")

    def closed(self) -> bool:
        """Whether everything has been read, or the reading was given up."""
        return self._ended and not self._buffer

    def close(self) -> None:
        """Give up reading: who writes into the pipe gets EPIPE from now on."""
        self._transport.close()

    async def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> bytes:
        """Return the bytes up to and with the delimiter.

        A piece without it is returned when it is LINE_LIMIT (or max_bytes) long, and at the end.

        :raises tornado.iostream.StreamClosedError: when there is nothing more.
        """
        limit = min(max_bytes or LINE_LIMIT, LINE_LIMIT)
        while True:
            found = self._buffer.find(delimiter)
            length = min(found + len(delimiter), limit) if found >= 0 else limit
            if found >= 0 or len(self._buffer) >= limit or (self._ended and self._buffer):
                piece = bytes(self._buffer[:length])
                del self._buffer[:length]
                return piece
            if self._ended:
                raise StreamClosedError()
            await self._read_more()

    async def drain(self) -> None:
        """Read to the end and throw away what comes, so that nobody blocks on a full pipe."""
        while not self._ended:
            self._buffer.clear()
            await self._read_more()
        self._buffer.clear()

    async def _read_more(self) -> None:
        clock = asyncio.get_running_loop().time
        if self._full_chunk_at is not None:
            spent = clock() - self._full_chunk_at
            await asyncio.sleep(min(spent * (1 / _SHARE - 1), 1.0))
        chunk = await self._reader.read(_CHUNK)
        self._full_chunk_at = clock() if len(chunk) == _CHUNK else None
        self._ended = not chunk
        self._buffer += chunk
        self._tail += chunk
        del self._tail[:-TAIL_LIMIT]
