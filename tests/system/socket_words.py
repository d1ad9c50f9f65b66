#!/usr/bin/python3 -I
"""Does with connections to the door what its words say, one after the other.

open               one more connection; the words below are about the last one
many NUMBER        so many connections at once, then `opened NUMBER` of those that were accepted
send TEXT          the text, in which Python's escapes count
drip TEXT          the same, one byte a second, until the other end has closed the connection
shut               no more is sent
read               what comes back, to the end, as one line of JSON: text and seconds
wait-for FILE      until the file is there
while FILE         as long as the file is there
give PATH          pass the connection to who takes it at this path
take PATH          take a connection that is passed
"""

import contextlib
import json
import select
import socket
import sys
import time
from pathlib import Path

SOCKET = "/run/sudospawner.socket"
words = iter(sys.argv[1:])
kept = []
connection = None
begin = time.monotonic()


def connect() -> socket.socket:
    """A new connection."""
    made = socket.socket(socket.AF_UNIX)
    made.connect(SOCKET)
    kept.append(made)
    return made


def unescape(text: str) -> bytes:
    """The bytes that a word means."""
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")


def is_closed() -> bool:
    """Whether the other end has closed the connection, or has said something."""
    return bool(select.select([connection], [], [], 1)[0])


def drip(data: bytes) -> None:
    """Send a byte a second."""
    for place in range(len(data)):
        try:
            connection.sendall(data[place : place + 1])
        except OSError:
            return
        if is_closed():
            return


def read() -> None:
    """Everything up to the end, which a reset is, too."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    text = b"".join(parts).decode()
    print(json.dumps({"text": text, "seconds": time.monotonic() - begin}), flush=True)


for word in words:
    if word == "open":
        connection = connect()
    elif word == "many":
        opened = 0
        for _ in range(int(next(words))):
            made = socket.socket(socket.AF_UNIX)
            made.setblocking(False)
            kept.append(made)
            try:
                made.connect(SOCKET)
                opened += 1
            except BlockingIOError:
                pass
        print(f"opened {opened}", flush=True)
    elif word == "send":
        with contextlib.suppress(OSError):
            connection.sendall(unescape(next(words)))
    elif word == "drip":
        drip(unescape(next(words)))
    elif word == "shut":
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
    elif word == "read":
        read()
    elif word == "wait-for":
        file = Path(next(words))
        while not file.exists():
            time.sleep(0.01)
    elif word == "while":
        file = Path(next(words))
        while file.exists():
            time.sleep(0.01)
    elif word == "give":
        with socket.socket(socket.AF_UNIX) as giving:
            giving.connect(next(words))
            socket.send_fds(giving, [b"x"], [connection.fileno()])
    elif word == "take":
        path = Path(next(words))
        with socket.socket(socket.AF_UNIX) as taking:
            taking.bind(str(path))
            path.chmod(0o777)
            taking.listen()
            print("ready", flush=True)
            giver, _ = taking.accept()
            _, [number], _, _ = socket.recv_fds(giver, 1, 1)
            connection = socket.socket(fileno=number)
        path.unlink()
