"""``SudoSpawner.check_on_start``: the Hub's log says at its start what is wrong with the machine.

A spawner class is told nothing of the Hub's start: its first object is made with the first user.
But the Hub asks this package for the class while it reads its configuration, in the coroutine that
starts it; a task that is made then runs when all of the configuration is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import sys
from typing import TYPE_CHECKING, Any

from jupyterhub.auth import PAMAuthenticator

from .printable import escape_control_characters

if TYPE_CHECKING:
    from jupyterhub.app import JupyterHub

    from .spawner import SudoSpawner

# Seconds that the check may take: sudo may ask a directory service about each account.
_LIMIT = 120.0
# The task is kept, since the loop itself would not.
_tasks: set[asyncio.Task[None]] = set()
_is_done = False


def check_when_the_hub_starts() -> None:
    """Have the check run once, if this process is a Hub that is starting; else do nothing."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    hub = _find_hub()
    if hub is not None:
        _keep(loop.create_task(_check_as_configured(hub)))


def check_once(spawner: SudoSpawner) -> None:
    """Have the check run with a spawner's settings, unless it has: where the start was missed."""
    if spawner.check_on_start and not _is_done:
        _keep(asyncio.get_running_loop().create_task(_check(spawner)))


def _find_hub() -> JupyterHub | None:
    """Return the Hub that this process is, without loading one where it is none."""
    app = sys.modules.get("jupyterhub.app")
    is_hub = app is not None and app.JupyterHub.initialized()
    return app.JupyterHub.instance() if app and is_hub else None


def _keep(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _check_as_configured(hub: JupyterHub) -> None:
    from .spawner import SudoSpawner  # It imports this module.

    if not issubclass(hub.spawner_class, SudoSpawner):
        return
    # Without a user, it has the Hub's configuration and the log, and nothing else.
    spawner = hub.spawner_class(parent=hub)
    if spawner.check_on_start:
        await _check(spawner)


async def _check(spawner: SudoSpawner) -> None:
    """Run ``sudospawner check`` and log each finding: a problem as an error, with its remedy."""
    global _is_done
    if _is_done:
        return
    _is_done = True
    try:
        report = await asyncio.wait_for(_ask(_make_argv(spawner)), _LIMIT)
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        spawner.log.error("sudospawner check could not be run: %s", error or "it took too long")
        return
    log = {"problem": spawner.log.error, "warning": spawner.log.warning}
    for finding in report["findings"]:
        remedy = f"; as root: {finding['remedy']}" if finding.get("remedy") else ""
        text = f"{finding['area']}: {finding['sentence']}{remedy}"
        say = log.get(finding["level"], spawner.log.debug)
        say("sudospawner check, %s", escape_control_characters(text))
    if report["ok"]:
        spawner.log.info("sudospawner check: no problem was found")


def _make_argv(spawner: SudoSpawner) -> list[str]:
    """Return the call of the check, with all that the Hub knows of itself."""
    argv = [spawner.sudospawner_path, "check", "--json", f"--mode={spawner.mode}"]
    argv.append(f"--path={spawner.sudospawner_path}")
    with contextlib.suppress(KeyError):  # A uid without an account is the check's to explain.
        argv.append(f"--hub-user={pwd.getpwuid(os.getuid()).pw_name}")
    hub = _find_hub()
    if hub is not None:
        uses_pam = issubclass(hub.authenticator_class, PAMAuthenticator)
        argv.append(f"--pam={'yes' if uses_pam else 'no'}")
    return argv


async def _ask(argv: list[str]) -> dict[str, Any]:
    """Run the check and return its report.

    :raises OSError: if it cannot be executed.
    :raises ValueError: if it gives no report; the text has its last words.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    try:
        report = json.loads(output)
        if isinstance(report.get("ok"), bool) and isinstance(report.get("findings"), list):
            return report
    except (ValueError, AttributeError):
        pass
    raise ValueError(escape_control_characters(errors.decode(errors="replace").strip()[-500:]))
