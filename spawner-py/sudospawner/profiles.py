"""The launcher and the profiles that root's policy has for a user, as the mediator reads them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any, Callable

from .errors import MediatorError
from .jobs import has_jobs
from .subcommand import run_subcommand

#: The path of root's policy. Without it there is nothing to ask the mediator.
POLICY = "/etc/sudospawner/policy.toml"

_SLURM = "slurm"
_PROCESS = "process"
_TIME_LIMIT = 10.0
# How many seconds an answer counts, and how many answers are kept.
_AGE = 5.0
_ANSWERS = 1000
# The limits of what is shown of a profile, and the maximum number of profiles.
_PROFILES = 100
_LENGTH = 200


@dataclass(frozen=True)
class Profile:
    """A named set of resources that a user may choose; all but name and title may be unknown.

    :param name: its name in the policy.
    :param title: what users see.
    :param cpus: how many cores a server has.
    :param memory: its memory in bytes.
    :param time: how long it may run, in Slurm's form: ``8:00:00``.
    :param partition: Slurm's partition.
    :param gres: further resources in Slurm's form, such as ``gpu:1``.
    """

    name: str
    title: str
    cpus: int | None = None
    memory: int | None = None
    time: str = ""
    partition: str = ""
    gres: str = ""

    @classmethod
    def read(cls, told: dict[str, Any]) -> Profile:
        """Read one element of the mediator's ``profiles``."""
        name = _text(told.get("name"))
        return cls(
            name=name,
            title=_text(told.get("title")) or name,
            cpus=_positive(told.get("cpus")),
            memory=_positive(told.get("memory")),
            time=_text(told.get("time")),
            partition=_text(told.get("partition")),
            gres=_text(told.get("gres")),
        )


@dataclass(frozen=True)
class Offer:
    """What the policy offers a user.

    :param launcher: ``process``, ``systemd`` or ``slurm``.
    :param profiles: the profiles that the user may choose, the policy's first one first.
    """

    launcher: str = _PROCESS
    profiles: tuple[Profile, ...] = ()

    @property
    def in_jobs(self) -> bool:
        """Whether servers run in jobs of Slurm's."""
        return self.launcher == _SLURM

    def find(self, name: str) -> Profile | None:
        """Return the profile of this name, the first one if the name is empty, or None."""
        if not name:
            return self.profiles[0] if self.profiles else None
        return next((profile for profile in self.profiles if profile.name == name), None)

    @classmethod
    def read(cls, told: dict[str, Any]) -> Offer:
        """Read what ``sudospawner profiles`` prints."""
        profiles = told.get("profiles")
        elements = profiles[:_PROFILES] if isinstance(profiles, list) else []
        read = (Profile.read(element) for element in elements if isinstance(element, dict))
        return cls(
            _text(told.get("launcher")) or _PROCESS,
            tuple(profile for profile in read if profile.name),
        )


def may_have_profiles() -> bool:
    """Whether there is a policy, or something that hides whether there is one."""
    try:
        os.stat(POLICY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


async def find_offer(program: str, user: str, warn: Callable[[str], None]) -> Offer:
    """Return what the policy offers a user; asks the mediator, at most every few seconds.

    If it does not answer, the last launcher that it named counts, or the one that this Hub's
    servers have; else servers run beside the Hub.

    :param program: the mediator's path. A wrapper in its place need not know the subcommand.
    :param user: the name of the user's account.
    :param warn: logs a sentence.
    """
    if not may_have_profiles():
        return Offer()
    now = asyncio.get_running_loop().time()
    for key in [key for key, (_, until) in _answers.items() if until < now]:
        del _answers[key]
    for key in ((program, user), (program, "")):
        if key in _answers:
            return _answers[key][0]
    try:
        told = await run_subcommand(program, "profiles", f"--user={user}", time_limit=_TIME_LIMIT)
        if not isinstance(told.get("launcher"), str):
            raise MediatorError("subcommand_failed", f"{program} profiles names no launcher")
    except MediatorError as error:
        launcher = _launchers.get(program) or (_SLURM if has_jobs(program) else _PROCESS)
        warn(
            f"which launcher and profiles there are for {user} is not known, and {launcher!r} is "
            f"taken for the launcher: {error.sentence}"
        )
        return Offer(launcher)
    offer = Offer.read(told)
    _launchers[program] = offer.launcher
    if len(_answers) < _ANSWERS:
        # Only profiles are for some users and not for others.
        _answers[program, user if offer.in_jobs else ""] = (offer, now + _AGE)
    return offer


# The last launcher, by the mediator's path.
_launchers: dict[str, str] = {}
# The answers, and until when they count, by the mediator's path and the user: empty for all users.
_answers: dict[tuple[str, str], tuple[Offer, float]] = {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= _LENGTH else ""


def _positive(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 2**63 else None
