"""Runs a subcommand of the mediator's as the Hub's own account, without sudo."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from .descriptors import TAKEN_BY_CALL, TAKEN_BY_PROCESS, explained_shortage, require_descriptors
from .errors import MediatorError
from .pipes import Pipes
from .printable import escape_control_characters

# The maximum size of what is printed, in bytes: 20,000 jobs have less.
_OUTPUT_LIMIT = 8 * 1024 * 1024
# How much of what a subcommand complains about is told, in characters.
_COMPLAINT = 500


async def run_subcommand(
    program: str, *words: str, time_limit: float, request: str = ""
) -> dict[str, Any]:
    """Return the JSON object that a subcommand prints, whatever its exit status.

    :param program: the mediator's path.
    :param words: the subcommand and its options.
    :param time_limit: seconds after which it is killed.
    :param request: the text for its stdin.
    :raises MediatorError: (``subcommand_failed``) if it prints no object, too much, or not in time.
    """
    what = f"{program} {words[0]}"
    try:
        with explained_shortage():
            require_descriptors(TAKEN_BY_CALL)
            running = _run([program, *words], request.encode("utf-8", "replace"))
            output, complaint = await asyncio.wait_for(running, time_limit)
    except asyncio.TimeoutError:
        reason = f"did not end within {time_limit:.0f} seconds"
    except OSError as error:
        reason = f"could not be executed: {error.strerror or error}"
    except ValueError as error:
        reason = f"failed: {error}"
    else:
        # RecursionError: thousands of brackets.
        with suppress(ValueError, RecursionError):
            found = json.loads(output)
            if isinstance(found, dict):
                return found
        said = escape_control_characters(complaint.strip()[-_COMPLAINT:])
        reason = f"printed nothing that can be read; it said: {said or 'nothing'}"
    raise MediatorError("subcommand_failed", f"{what} {reason}")


async def _run(argv: list[str], request: bytes) -> tuple[bytes, str]:
    """Run a program to its end; return its stdout, and the end of its stderr.

    It is killed if this is cancelled.

    :raises OSError: if it cannot be executed.
    :raises ValueError: if it prints too much, or if a word has a NUL.
    """
    pipes = await Pipes.open()
    process = None
    try:
        require_descriptors(TAKEN_BY_PROCESS)
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=pipes.child_stdin,
            stdout=pipes.child_stdout,
            stderr=pipes.child_stderr,
            start_new_session=True,
        )
        pipes.close_child_ends()
        pipes.send(request)
        draining = asyncio.ensure_future(pipes.stderr.drain())
        output = bytearray()
        while chunk := await pipes.stdout.read(64 * 1024):
            output += chunk
            if len(output) > _OUTPUT_LIMIT:
                raise ValueError(f"it printed more than {_OUTPUT_LIMIT} bytes")
        await asyncio.wait({draining, asyncio.ensure_future(process.wait())})
        return bytes(output), pipes.stderr.tail
    finally:
        pipes.close()
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
