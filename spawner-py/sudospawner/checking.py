"""``SudoSpawner.check_on_start``: log problems with the machine when the Hub starts.

JupyterHub does not notify a spawner class when it starts; it creates the first spawner with the
first user. But it imports the class while it reads its configuration, in its startup coroutine. A
task that is created then runs once the configuration is complete.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from jupyterhub.auth import PAMAuthenticator

from .command import CALLER
from .errors import MediatorError
from .printable import escape_control_characters
from .subcommand import run_subcommand

if TYPE_CHECKING:
    from jupyterhub.app import JupyterHub
    from jupyterhub.spawner import Spawner

# Time limit of the check, in seconds: sudo may query a directory service for each account.
_LIMIT = 120.0
# The event loop keeps only weak references to tasks.
_tasks: set[asyncio.Task[None]] = set()
_is_done = False


def check_when_the_hub_starts(spawner_class: type[Spawner]) -> None:
    """Schedule the check, once, if this process is a Hub that is starting.

    :param spawner_class: SudoSpawner. The check is skipped if the Hub uses another spawner class.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    hub = _find_hub()
    if hub is not None:
        _keep(loop.create_task(_check_as_configured(hub, spawner_class)))


def check_once(spawner: Spawner) -> None:
    """Schedule the check unless it has run: for a Hub whose start was not noticed.

    :param spawner: has the settings, and the log for the findings.
    """
    if not _is_done:
        _keep(asyncio.get_running_loop().create_task(_check(spawner)))


def _find_hub() -> JupyterHub | None:
    """Return the Hub of this process, or None; does not import jupyterhub.app."""
    app = sys.modules.get("jupyterhub.app")
    is_hub = app is not None and app.JupyterHub.initialized()
    return app.JupyterHub.instance() if app and is_hub else None


def _keep(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _check_as_configured(hub: JupyterHub, spawner_class: type[Spawner]) -> None:
    if not issubclass(hub.spawner_class, spawner_class):
        return
    # A spawner without a user has only the Hub's configuration and log.
    spawner = hub.spawner_class(parent=hub)
    if spawner.check_on_start:
        await _check(spawner)


async def _check(spawner: Spawner) -> None:
    """Run ``sudospawner check`` and log each finding; a problem is an error, with its remedy."""
    global _is_done
    if _is_done:
        return
    _is_done = True
    words, log = _make_words(spawner), spawner.log
    try:
        report = await run_subcommand(spawner.sudospawner_path, *words, time_limit=_LIMIT)
        if not (isinstance(report.get("ok"), bool) and isinstance(report.get("findings"), list)):
            raise MediatorError("subcommand_failed", "its report is not of the form that is known")
    except MediatorError as error:
        log.error("sudospawner check could not be run: %s", error.sentence)
        return
    say_of = {"problem": log.error, "warning": log.warning}
    for finding in report["findings"]:
        remedy = f"; as root: {finding['remedy']}" if finding.get("remedy") else ""
        text = f"{finding['area']}: {finding['sentence']}{remedy}"
        say = say_of.get(finding["level"], log.debug)
        say("sudospawner check, %s", escape_control_characters(text))
    if report["ok"]:
        log.info("sudospawner check: no problem was found")


def _make_words(spawner: Spawner) -> list[str]:
    """Return the subcommand with its options: what the Hub knows about itself."""
    words = ["check", "--json", f"--mode={spawner.mode}", f"--path={spawner.sudospawner_path}"]
    if spawner.mode == "socket":
        words.append(f"--socket={spawner.socket_path}")
    if not CALLER.startswith("#"):  # The check reports a uid without an account.
        words.append(f"--hub-user={CALLER}")
    hub = _find_hub()
    if hub is not None:
        uses_pam = issubclass(hub.authenticator_class, PAMAuthenticator)
        words.append(f"--pam={'yes' if uses_pam else 'no'}")
    return words
