"""The form of profiles on the spawn page: plain HTML for Bootstrap 3 and 5, without scripts."""

from __future__ import annotations

import re
from html import escape

from .ending import format_bytes
from .options import CPUS, MEMORY, PROFILE, Choice, count_cores
from .printable import escape_control_characters
from .profiles import Offer, Profile

_ID = "sudospawner"
_TIME = re.compile(r"(?:(\d{1,4})-)?(\d{1,5})(?::(\d{1,2}))?(?::(\d{1,2}))?")


def make_form(offer: Offer, last: Choice) -> str:
    """Return the form, or an empty string if there is nothing to choose.

    :param offer: the profiles that the user may choose.
    :param last: what the user chose last.
    """
    chosen = offer.find(last.profile)
    is_one = len(offer.profiles) == 1 and chosen is not None
    if not offer.profiles or is_one:
        return ""
    notice = ""
    if chosen is None:
        name = _text(last.profile)
        notice = f'<p class="text-warning">The profile {name}, your last one, is not there now.</p>'
    radios = "\n".join(
        _make_radio(number, profile, is_checked=profile is (chosen or offer.profiles[0]))
        for number, profile in enumerate(offer.profiles)
    )
    return f"""{notice}
<fieldset class="form-group mb-3">
<legend>Profile</legend>
{radios}
</fieldset>
<fieldset class="form-group mb-3">
<legend>Less than the profile gives</legend>
<p class="help-block form-text" id="{_ID}-less">A server that needs less may start sooner. Leave a
field empty for all that the profile gives.</p>
{_make_fields(offer, last)}
</fieldset>"""


def _make_radio(number: int, profile: Profile, *, is_checked: bool) -> str:
    name = f"{_ID}-profile-{number}"
    details = _describe(profile)
    described = f' aria-describedby="{name}-gives"' if details else ""
    given = f'\n<div class="text-muted" id="{name}-gives">{_text(details)}</div>' if details else ""
    return (
        f'<div class="form-check">\n<input class="form-check-input" type="radio" name="{PROFILE}" '
        f'id="{name}" value="{escape(profile.name)}" required{described}'
        f"{' checked' if is_checked else ''}>\n"
        f'<label class="form-check-label" for="{name}">{_text(profile.title)}</label>'
        f"{given}\n</div>"
    )


def _make_fields(offer: Offer, last: Choice) -> str:
    cpus = [profile.cpus for profile in offer.profiles]
    memory = [profile.memory for profile in offer.profiles]
    of_cpus = of_memory = ""
    if None not in cpus:
        of_cpus = f' max="{max(cpus)}"'
    if None not in memory:
        of_memory = f' max="{_count_gib(max(memory))}"'
    return (
        _make_number(CPUS, "Cores", f' min="1" step="1"{of_cpus}', str(last.cpus or ""))
        + "\n"
        + _make_number(
            MEMORY,
            "Memory in GiB",
            f' min="0.001" step="any"{of_memory}',
            _count_gib(last.memory) if last.memory else "",
        )
    )


def _make_number(name: str, label: str, bounds: str, value: str) -> str:
    return (
        f'<div class="form-group mb-2">\n<label class="form-label" for="{_ID}-{name}">{label}'
        f'</label>\n<input class="form-control" type="number" name="{name}" id="{_ID}-{name}"'
        f'{bounds} value="{value}" aria-describedby="{_ID}-less">\n</div>'
    )


def _describe(profile: Profile) -> str:
    """Return in words what a profile gives."""
    parts = [
        count_cores(profile.cpus) if profile.cpus else "",
        f"{format_bytes(profile.memory)} of memory" if profile.memory else "",
        f"at most {describe_time(profile.time)}" if profile.time else "",
        profile.gres,
        f"partition {profile.partition}" if profile.partition else "",
    ]
    return ", ".join(part for part in parts if part)


def describe_time(time: str) -> str:
    """Return a time limit in words; as it is if it is not of a form of Slurm's.

    :param time: ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours`` and
        with ``:minutes`` and ``:seconds`` behind that.
    """
    found = _TIME.fullmatch(time)
    if not found:
        return time
    days, *others = (int(part) if part else None for part in found.groups())
    given = [part for part in others if part is not None]
    if days is not None:
        hours, minutes, seconds = (*given, 0, 0)[:3]
    elif len(given) == 3:
        hours, minutes, seconds = given
    else:
        hours, (minutes, seconds) = 0, (*given, 0)[:2]
    minutes += (days or 0) * 1440 + hours * 60
    counts = [(minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute")]
    counts.append((seconds, "second"))
    words = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in counts if count]
    return " ".join(words) or time


def _count_gib(size: int) -> str:
    # Rounded down, since it may be all that a profile gives.
    return f"{size * 1000 // 2**30 / 1000:.3f}".rstrip("0").rstrip(".")


def _text(text: str) -> str:
    return escape(escape_control_characters(text))
