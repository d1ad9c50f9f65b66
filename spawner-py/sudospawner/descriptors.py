"""The Hub's descriptors: each server beside the Hub takes one, each connection another.

The limit is not raised here: it is the whole Hub's, and its children inherit it. Its unit sets it.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import MediatorError

#: How many a start leaves: for connections, and for the calls that stop servers.
LEFT_BY_STARTS = 64
#: How many a call takes in passing: for its pipes, and then for its process.
TAKEN_BY_CALL = 12
TAKEN_BY_PROCESS = 4


def require_descriptors(count: int) -> None:
    """Look whether so many descriptors can be opened, or half of all if those are fewer.

    :raises OSError: if not (EMFILE), or if the machine has no more (ENFILE).
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Those that are open are not counted: the kernel would take longer to list a thousand.
    opened = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while len(opened) < min(count, limit // 2):
            opened.append(os.dup(opened[0]))
    finally:
        for descriptor in opened:
            os.close(descriptor)


def describe_shortage(error: OSError) -> str | None:
    """Return what to do if descriptors have run out, or None if the error is another one."""
    if error.errno == errno.EMFILE:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (
            f"The Hub may have {limit} open files, and too few are left. Each server beside the "
            "Hub takes one, and each connection another. Set LimitNOFILE=65536 in the Hub's unit, "
            "and restart the Hub."
        )
    if error.errno == errno.ENFILE:
        return (
            "This machine can open no more files: find out who has them (lsof), or raise "
            "fs.file-max with sysctl."
        )
    return None


@contextmanager
def explained_shortage() -> Iterator[None]:
    """Turn the OSError of a shortage into a MediatorError."""
    try:
        yield
    except OSError as error:
        sentence = describe_shortage(error)
        if sentence is None:
            raise
        raise MediatorError("hub_out_of_descriptors", sentence) from error
