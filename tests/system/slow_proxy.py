#!/usr/bin/python3 -I
"""Passes connections on from one port to another of this computer; each answer comes late.

Its arguments are the two ports, by how many seconds an answer is late, and the address where it
listens if that is not 127.0.0.1.
"""

import asyncio
import sys
from asyncio import StreamReader, StreamWriter

OWN, OTHER = map(int, sys.argv[1:3])
SECONDS = float(sys.argv[3])
ADDRESS = sys.argv[4] if len(sys.argv) > 4 else "127.0.0.1"


async def relay(reader: StreamReader, writer: StreamWriter, seconds: float) -> None:
    """Pass on what comes, each part so many seconds later, until the end."""
    clock = asyncio.get_running_loop()
    try:
        while data := await reader.read(1 << 20):
            clock.call_later(seconds, writer.write, data)
    finally:
        clock.call_later(seconds, writer.close)


async def serve(client: StreamReader, to_client: StreamWriter) -> None:
    """Pass on one connection."""
    server, to_server = await asyncio.open_connection("127.0.0.1", OTHER)
    await asyncio.gather(
        relay(client, to_server, 0), relay(server, to_client, SECONDS), return_exceptions=True
    )


async def main() -> None:
    """Listen."""
    listener = await asyncio.start_server(serve, ADDRESS, OWN)
    await listener.serve_forever()


asyncio.run(main())
