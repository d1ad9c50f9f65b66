"""`forwarded`: a port of this computer's loopback address reaches the same port in a machine."""

from __future__ import annotations

import select
import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from machine.machine import Machine

LOOPBACK = "127.0.0.1"
BYTES = 65536


@contextmanager
def forwarded(machine: Machine, port: int) -> Iterator[None]:
    """In this context connections are passed on to the machine, which has a network of its own."""

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with machine.network():
                there = socket.create_connection((LOOPBACK, port))
            with there, suppress(OSError):
                relay(self.request, there)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with Server((LOOPBACK, port), Connection) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def relay(here: socket.socket, there: socket.socket) -> None:
    """Pass on what each says to the other, until one of them has ended."""
    others = {here: there, there: here}
    while True:
        for ready in select.select([*others], [], [])[0]:
            part = ready.recv(BYTES)
            if not part:
                return
            others[ready].sendall(part)
