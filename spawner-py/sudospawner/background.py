"""Tasks that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

# asyncio keeps only weak references to tasks.
tasks: set[asyncio.Task[Any]] = set()


def run_in_background(work: Awaitable[Any]) -> asyncio.Task[Any]:
    """Start a task and keep it until it is done."""
    task = asyncio.ensure_future(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task
