"""Chooses the ports of servers beside the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

from jupyterhub.utils import random_port

# The ports of starts that are under way: until its server listens, the kernel offers a port again.
_reserved: set[int] = set()
# How often the kernel is asked, if it offers nothing but these.
_OFFERS = 100


@contextmanager
def reserved_ports() -> Iterator[Callable[[], int]]:
    """Yield a function that chooses a port, which no other start chooses in this context."""
    chosen: set[int] = set()

    def choose() -> int:
        port = random_port()
        for _ in range(_OFFERS):
            if port not in _reserved:
                break
            port = random_port()
        _reserved.add(port)
        chosen.add(port)
        return port

    try:
        yield choose
    finally:
        _reserved.difference_update(chosen)
