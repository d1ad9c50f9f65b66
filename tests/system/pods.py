"""What pods say of a container, and what becomes of it: the table of test_containers.py.

A row has two outcomes: that of our program, and that of jupyterhub-roothooks 0.2.1 from PyPI. The
functions that make rows say in what the two differ.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from system.bundle import SecurityContext, name_capabilities
from system.roothooks import NO_ACCOUNT, read_status

LOOK = "#!/bin/sh\nsed 's/^/hook /' /proc/self/status\n"
# Ids without an account in the image.
UID, GID = NO_ACCOUNT, 54322
NONE: frozenset[str] = frozenset()
ALL = frozenset({"ALL"})
IDS = frozenset({"SETUID", "SETGID"})
# What docs/kubernetes.md gives to every pod.
PAGE = IDS | {"SETPCAP", "KILL"}


class View(NamedTuple):
    """What a process of the container has."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: frozenset[str]
    bounds: frozenset[str]
    no_new_privileges: bool
    filtered: bool


class Outcome(NamedTuple):
    """How a container ended, and what its hook and its command had, if they ran."""

    status: int
    hook: View | None
    command: View | None


def look(lines: Sequence[str]) -> View | None:
    """What a process's lines of /proc say; None if there are none."""
    if not lines:
        return None
    status = read_status("\n".join(lines))
    [uid] = set(status["Uid"].split())
    [gid] = set(status["Gid"].split())
    assert status["CapEff"] == status["CapPrm"]
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    permitted, bounds = (name_capabilities(status[key]) for key in ("CapPrm", "CapBnd"))
    groups = tuple(int(group) for group in status["Groups"].split())
    switches = (status["NoNewPrivs"] == "1", status["Seccomp"] == "2")
    return View(int(uid), int(gid), groups, permitted, bounds, *switches)


def take_outcome(ended: subprocess.CompletedProcess[str]) -> Outcome:
    """What a container printed whose hook is LOOK and whose command is `cat /proc/self/status`."""
    lines = ended.stdout.splitlines()
    hook = [line.removeprefix("hook ") for line in lines if line.startswith("hook ")]
    command = [line for line in lines if not line.startswith(("hook ", "executing "))]
    return Outcome(ended.returncode, look(hook), look(command))


@dataclass(frozen=True)
class Row:
    """What a pod says, and what comes of it with each program. `says`: words of our program."""

    context: SecurityContext
    options: tuple[str, ...]
    says: str
    ours: Outcome
    theirs: Outcome


def as_started(context: SecurityContext) -> View:
    """What a process has before any program of ours or theirs has changed anything."""
    return View(
        context.run_as_user,
        context.run_as_group,
        context.groups,
        context.capabilities if context.run_as_user == 0 else NONE,
        context.capabilities,
        not context.allow_privilege_escalation,
        context.seccomp == "RuntimeDefault",
    )


def start(
    context: SecurityContext,
    *groups: int,
    options: tuple[str, ...] = (),
    bounds: frozenset[str] = NONE,
    says: str = "01-look finished with exit code 0",
) -> Row:
    """A row where both run the hook as root and start the command without root.

    Our command has these groups and bounds, and no_new_privs; theirs has no groups, and bounds and
    no_new_privs as the pod has them.
    """
    hook = as_started(context)
    theirs = hook._replace(uid=UID, gid=GID, groups=(), capabilities=NONE)
    ours = theirs._replace(groups=groups, bounds=bounds, no_new_privileges=True)
    return Row(context, options, says, Outcome(0, hook, ours), Outcome(0, hook, theirs))


def fail(context: SecurityContext, says: str) -> Row:
    """A row where both run the hook as root, and cannot give up root afterwards."""
    outcome = Outcome(1, as_started(context), None)
    return Row(context, (), says, outcome, outcome)


def stay(context: SecurityContext, *options: str) -> Row:
    """A row without root: ours starts the command as it is, theirs runs the hook and fails."""
    seen = as_started(context)
    ours = Outcome(0, None, seen._replace(no_new_privileges=True))
    return Row(context, options, "no hook is run", ours, Outcome(1, seen, None))


def refuse(row: Row, says: str, *options: str) -> Row:
    """A row where ours does nothing, and theirs what it does in another."""
    return Row(row.context, options, says, Outcome(1, None, None), row.theirs)


def drop_all(*add: str) -> SecurityContext:
    """A pod that starts as root, with these capabilities alone."""
    return SecurityContext(drop=ALL, add=frozenset(add))


CAREFUL: dict[str, Any] = {"drop": ALL, "allow_privilege_escalation": False}
GROUPS = SecurityContext(fs_group=100, supplemental_groups=(2000,))
OTHER = SecurityContext(run_as_user=UID, run_as_group=GID)
OTHER_GROUPS = replace(OTHER, fs_group=100)
ROWS = {
    "nothing": start(SecurityContext()),
    "seccomp: Unconfined": start(SecurityContext(seccomp="Unconfined")),
    "drop SETUID": fail(SecurityContext(drop=frozenset({"SETUID"})), "SETUID and SETGID"),
    "drop ALL": fail(drop_all(), "SETUID and SETGID"),
    "drop ALL, add SETUID": fail(drop_all("SETUID"), "SETUID and SETGID"),
    "drop ALL, add SETUID, SETGID": start(drop_all(*IDS), bounds=IDS, says="without CAP_SETPCAP"),
    "drop ALL, add the page's": start(drop_all(*PAGE)),
    "the same, allowPrivilegeEscalation: false": start(SecurityContext(add=PAGE, **CAREFUL)),
    "add SYS_ADMIN": start(SecurityContext(add=frozenset({"SYS_ADMIN"}))),
    "readOnlyRootFilesystem": start(SecurityContext(read_only_root_filesystem=True)),
    "runAsGroup": start(SecurityContext(run_as_group=100)),
    "fsGroup, supplementalGroups": start(GROUPS),
    "the same, --groups=100": start(GROUPS, 100, options=("--groups=100",)),
    "the same, --groups=2000,100": start(GROUPS, 100, 2000, options=("--groups=2000,100",)),
    "the same, --groups=3000": start(GROUPS, 3000, options=("--groups=3000",)),
    "the same, --groups=100,0": refuse(start(GROUPS), "never has root's group", "--groups=100,0"),
    "runAsUser, runAsGroup": stay(OTHER),
    "runAsUser alone": stay(SecurityContext(run_as_user=UID)),
    "the same, allowPrivilegeEscalation: false, drop ALL": stay(
        SecurityContext(run_as_user=UID, **CAREFUL)
    ),
    "runAsUser, runAsGroup, fsGroup": stay(OTHER_GROUPS),
    "the same, with --groups=100": stay(OTHER_GROUPS, "--groups=100"),
    "the same, with --groups=100,2000": refuse(
        stay(OTHER_GROUPS), "group 2000 cannot be taken", "--groups=100,2000"
    ),
    "runAsUser that is not --uid": refuse(
        stay(replace(OTHER, run_as_user=60000)), f"uid 60000 cannot become uid {UID}"
    ),
}
