"""What is told of a job while it is started, in words for its user and for the Hub's log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .printable import escape_control_characters

# What Slurm's reasons mean, by how they begin; the first that matches counts.
_REASONS = (
    ("Resources", "other jobs have the cores, memory or devices that it needs"),
    ("Priority", "other jobs go first"),
    ("QOSMax", "you have as many jobs or resources as your quality of service permits at a time"),
    ("QOSGrp", "all users of this quality of service together have what it permits at a time"),
    ("AssocMax", "you have as many jobs or resources as your account permits at a time"),
    ("AssocGrp", "the users of your account together have what it permits at a time"),
    ("MaxCpuPerAccount", "your account has as many cores as it may have at a time"),
    ("MaxMemPerLimit", "it asks for more memory than it may have"),
    ("Dependency", "it waits for the end of another job"),
    ("ReqNodeNotAvail", "nodes that it needs are down, drained or reserved"),
    ("NodeDown", "a node that it needs is down"),
    ("BadConstraints", "no node of the cluster has what it asks for"),
    ("PartitionTimeLimit", "it asks for more time than its partition permits"),
    ("PartitionNodeLimit", "its partition does not have as many nodes as it asks for"),
    ("PartitionDown", "its partition takes no jobs to nodes now"),
    ("PartitionInactive", "its partition starts no jobs now"),
    ("Reservation", "the time of its reservation has not come"),
    ("Licenses", "other jobs have the licenses that it needs"),
    ("BeginTime", "it may not begin before a certain time"),
    ("JobHeldAdmin", "an administrator of the cluster holds it back"),
    ("JobHeldUser", "it is held back by its user"),
    ("Prolog", "its node is being prepared"),
    ("Cleaning", "its node is being cleaned up"),
    ("InvalidAccount", "the cluster does not know its account"),
    ("InvalidQOS", "the cluster does not know its quality of service"),
)
_STATES = {
    "CONFIGURING": "Its node is being prepared",
    "SUSPENDED": "The cluster has suspended its job",
    "STOPPED": "Its job was stopped by a signal",
    "COMPLETING": "Its job is ending",
}


def describe_news(event: Mapping[str, Any], now: datetime) -> str:
    """Return one line for the user about a ``job`` event, with control characters escaped.

    :param event: the event; strings that are missing are empty or None.
    :param now: the local time, in whose zone Slurm's times are.
    """
    state, host = event.get("state") or "", event.get("host") or ""
    if state == "PENDING":
        line = "Waiting in the queue of the cluster" + _explain(event.get("reason") or "")
        line += _estimate(event.get("estimated_start") or "", now)
    elif state == "RUNNING":
        line = f"Running on {host}" if host else "Running"
    else:
        line = _STATES.get(state) or f"Its job is in the state {state or '?'}"
        line += f" ({host})" if host else ""
    return escape_control_characters(line)


def _explain(reason: str) -> str:
    if reason in ("", "None"):
        return ""
    for beginning, meaning in _REASONS:
        if reason.startswith(beginning):
            return f" ({reason}: {meaning})"
    return f" ({reason})"


def _estimate(start: str, now: datetime) -> str:
    try:
        time = datetime.fromisoformat(start)
    except ValueError:
        return ""
    if time.tzinfo is not None or time <= now:
        return ""
    day = "" if time.date() == now.date() else f"{time:%Y-%m-%d} "
    return f"; expected to start about {day}{time:%H:%M}"
