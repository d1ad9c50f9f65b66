"""What a user may choose of a server in a job: its profile, and less than all that this gives."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jupyterhub.spawner import Spawner

from .ending import format_bytes
from .printable import escape_control_characters
from .profiles import Offer, Profile

#: The keys of ``user_options``, and the names of the form's fields.
PROFILE, CPUS, MEMORY = "profile", "cpus", "memory"

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"([0-9]{1,15}(?:[.,][0-9]{1,6})?) ?([KMGT]?)(?:I?B)?", re.IGNORECASE)
_LEAST_MEMORY = 2**20
_MOST_CPUS = 4096
# The longest value that is told in an error, in characters.
_LENGTH = 80


@dataclass(frozen=True)
class Choice:
    """What a user has chosen.

    :param profile: the profile's name; empty for the first one of the policy.
    :param cpus: so many cores at most; None for all that the profile gives.
    :param memory: so many bytes of memory at most; None for all that the profile gives.
    """

    profile: str = ""
    cpus: int | None = None
    memory: int | None = None

    @classmethod
    def read(cls, options: Mapping[str, Any], *, default_unit: str = "") -> Choice:
        """Read ``user_options``, which may come from the REST API, or a form's fields.

        :param options: ``profile`` (string), ``cpus`` (number) and ``memory`` (bytes, or a string
            such as ``"1.5G"``); other keys are ignored, and empty values are none.
        :param default_unit: what a memory without unit is in; empty to refuse it in a string.
        :raises ValueError: if a value makes no sense; the message is for the user.
        """
        profile = options.get(PROFILE) or ""
        if not isinstance(profile, str):
            raise ValueError(f"The profile has to be a name, and not {_show(profile)}.")
        return cls(
            profile,
            _read_cpus(options.get(CPUS)),
            _read_memory(options.get(MEMORY), default_unit),
        )

    @classmethod
    def read_form(cls, fields: Mapping[str, list[str]]) -> Choice:
        """Read the fields of the form, or of a query; memory is in GiB.

        :raises ValueError: if a value makes no sense; the message is for the user.
        """
        first = {name: values[0].strip() for name, values in fields.items() if values}
        return cls.read(
            {name: first[name] for name in (PROFILE, CPUS, MEMORY) if name in first},
            default_unit="G",
        )

    def check(self, offer: Offer) -> Choice:
        """Return itself, if the offer has the profile, and the profile has as much as this.

        :raises ValueError: if not; the message is for the user.
        """
        profile = offer.find(self.profile)
        if profile is None and self.profile:
            names = ", ".join(each.name for each in offer.profiles)
            raise ValueError(f"You may not choose the profile {_show(self.profile)}, but: {names}.")
        if profile is not None and self.cpus and profile.cpus and self.cpus > profile.cpus:
            raise ValueError(
                f"The profile {_show(profile.title)} gives at most {count_cores(profile.cpus)}, "
                f"and you ask for {self.cpus}."
            )
        if profile is not None and self.memory and profile.memory and self.memory > profile.memory:
            raise ValueError(
                f"The profile {_show(profile.title)} gives at most "
                f"{format_bytes(profile.memory)} of memory, and you ask for "
                f"{format_bytes(self.memory)}."
            )
        return self

    def get_options(self) -> dict[str, Any]:
        """Return it as ``user_options``, which the Hub keeps for the next start."""
        options = {PROFILE: self.profile, CPUS: self.cpus, MEMORY: self.memory}
        return {name: value for name, value in options.items() if value}

    def find_limits(
        self, profile: Profile | None, mem_limit: int | None, cpu_limit: float | None
    ) -> dict[str, int]:
        """Return the limits to request: the smallest of what is asked for, within the profile.

        :param profile: the profile, if it is known.
        :param mem_limit: the Hub's own limit in bytes, if it has one.
        :param cpu_limit: the Hub's own limit in cores, if it has one. Slurm counts whole ones.
        """
        limits = {}
        if self.memory or mem_limit:
            of_profile = profile.memory if profile else None
            limits["memory"] = _find_least(self.memory, mem_limit, of_profile)
        if self.cpus or cpu_limit:
            of_profile = profile.cpus if profile else None
            whole = math.ceil(cpu_limit) if cpu_limit else None
            limits["cpus"] = _find_least(self.cpus, whole, of_profile)
        return limits


def _find_least(*limits: int | None) -> int:
    return min(int(limit) for limit in limits if limit)


def _read_cpus(value: Any) -> int | None:
    if value in (None, ""):
        return None
    text = str(value) if type(value) in (int, str) else ""
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= _MOST_CPUS:
        raise ValueError(
            f"The number of cores has to be a whole number from 1, and not {_show(value)}."
        )
    return int(text)


def _read_memory(value: Any, default_unit: str) -> int | None:
    if value in (None, ""):
        return None
    size = 0
    if type(value) is int:
        size = value
    elif isinstance(value, str):
        found = _SIZE.fullmatch(value)
        unit = (found[2].upper() or default_unit) if found else ""
        if found and unit:
            size = int(float(found[1].replace(",", ".")) * _UNITS[unit])
    if not _LEAST_MEMORY <= size < 2**63:
        raise ValueError(
            "The memory has to be a size of at least 1 MiB, such as 1.5G or 512M, and not "
            f"{_show(value)}."
        )
    return size


def _show(value: Any) -> str:
    text = escape_control_characters(str(value))
    return f"“{text if len(text) <= _LENGTH else text[: _LENGTH - 1] + '…'}”"


def count_cores(count: int) -> str:
    """Return so many cores in words."""
    return "1 core" if count == 1 else f"{count} cores"


def tell_of_unhandled_options(spawner: Spawner, options: Mapping[str, Any]) -> None:
    """Warn of options that nothing makes use of, as JupyterHub does since 5.3.

    :param spawner: has the log.
    :param options: the ``user_options`` of a start.
    """
    unhandled = [str(name) for name in options if name not in (PROFILE, CPUS, MEMORY)]
    if unhandled:
        names = escape_control_characters(", ".join(unhandled))
        spawner.log.warning(f"Received unhandled user_options for {spawner._log_name}: {names}")
