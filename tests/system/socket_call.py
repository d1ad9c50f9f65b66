#!/usr/bin/python3 -I
"""Makes one call through the socket: `socket_call.py TARGET`, with the request on stdin.

What comes back is written to stdout. If nobody reads stdout any longer, the connection is closed.
"""

import json
import os
import select
import socket
import sys

SOCKET = "/run/sudospawner.socket"


def find_action(request: bytes) -> str:
    """The action that the request names, if it can be read."""
    try:
        return str(json.loads(request)["action"])
    except (ValueError, KeyError, TypeError):
        return "?"


request = sys.stdin.buffer.read()
connection = socket.socket(socket.AF_UNIX)
connection.connect(SOCKET)
try:
    connection.sendall(f"{find_action(request)} {sys.argv[1]}\n".encode() + request)
    connection.shutdown(socket.SHUT_WR)
except OSError:
    pass  # It has been refused: the reply says why.
poll = select.poll()
poll.register(connection, select.POLLIN)
poll.register(1, 0)
while True:
    ready = dict(poll.poll())
    if 1 in ready:
        sys.exit(1)
    try:
        told = connection.recv(65536)
    except ConnectionResetError:
        break
    if not told:
        break
    os.write(1, told)
