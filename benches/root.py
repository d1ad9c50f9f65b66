"""The rows about what runs as root: the mediator's root mode and `jupyterhub-roothooks`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from contenders import FOLDER, TARGET, TRUE, Contest, path_of
from machine.catalogue import cache_named
from machine.machine import Machine
from mediators import measure
from progress import report
from table import Reference, Row, add, compare

POLICY = "/etc/sudospawner/policy.toml"
HOOKS = "/etc/sudospawner/roothooks.d"
HOOK = f"{HOOKS}/10-true"
SUDO = ["/usr/bin/sudo", "-n"]
ROOT_MODE = Contest(SUDO, ["ours"], [f"--user={TARGET}"])
# The commands that install and remove a hook: a copy, not a link, as a hook is a real file.
SWITCH = {
    "with": ["/usr/bin/cp", TRUE, HOOK],
    "without": ["/usr/bin/rm", "-f", HOOK],
}
NSSWITCH = "/etc/nsswitch.conf"
LIMIT = Reference("sudo -n true", "limit")
WITHOUT = Reference("without", "without")
PYTHON = Reference("Python's", "python")
# Separate from root mode's folder, which must be empty at first.
ENTRYPOINT_HOOKS = FOLDER / "roothooks.d"


def measure_root_mode(machine: Machine) -> Iterator[Row]:
    """Time spawn without hooks, what one hook adds, and kill; remove the policy at the end."""
    machine.write(POLICY, 'hub_users = ["rhea"]\n\n[targets]\ngroups = ["jupyterhub"]\n')
    machine.run(["install", "--directory", HOOKS])
    words = [[TRUE], [path_of("ours")], *SWITCH.values()]
    rule = f"rhea ALL=(root) NOPASSWD: {', '.join(' '.join(command) for command in words)}\n"
    rules = "/etc/sudoers.d/comparison-root-mode"
    machine.write(rules, rule, mode=0o440)
    machine.run(["visudo", "--check", "--file", rules])
    try:
        yield from measure_calls(machine)
    finally:
        machine.run(["rm", "-r", rules, "/etc/sudospawner"])


def measure_calls(machine: Machine) -> Iterator[Row]:
    """Time the calls themselves."""
    times = measure(machine, "spawn", ROOT_MODE, rounds=100)
    yield compare("root mode, spawn: server's first instruction", LIMIT, times["first"], 1.6)
    switch = {what: [*SUDO, *command] for what, command in SWITCH.items()}
    times = measure(machine, "hook", ROOT_MODE, rounds=100, hook=switch)
    first = {"without": times["first"]["without"], "ours": times["first"]["with"]}
    yield add("root mode, spawn: one hook (a copy of true)", WITHOUT, first, 0.002)
    times = measure(machine, "kill", ROOT_MODE, rounds=100)
    yield compare("root mode, kill (signal 0), running server", LIMIT, times["alive"])


@contextmanager
def accounts_of_files(machine: Machine) -> Iterator[None]:
    """Look up accounts only in files in this context, as container images do, not in systemd."""
    kept = f"{NSSWITCH}.kept"
    machine.run(["cp", "--archive", NSSWITCH, kept])
    machine.run(["sed", "-i", "s/ systemd//", NSSWITCH])
    try:
        yield
    finally:
        machine.run(["mv", kept, NSSWITCH])


def measure_roothooks(machine: Machine) -> Iterator[Row]:
    """Time from the call of the entrypoint, with two hooks, to its command's first instruction."""
    programs = {"ours": "hub6", PYTHON.key: "upstream"}
    paths = {
        name: cache_named(cache).bin / "jupyterhub-roothooks" for name, cache in programs.items()
    }
    for path in paths.values():
        if machine.run(["test", "-x", path], check=False).returncode != 0:
            report(f"{path} is not there: no row about jupyterhub-roothooks")
            return
    account = machine.look_up_account(TARGET)
    options = [f"--hooks-dir={ENTRYPOINT_HOOKS}", f"--uid={account.uid}", f"--gid={account.gid}"]
    command = str(FOLDER / "ours/sudospawner-singleuser")
    for name in ("10-true", "20-true"):
        machine.run(["install", "-D", TRUE, ENTRYPOINT_HOOKS / name])
    entrypoints = {name: [str(path), *options, "--", command] for name, path in paths.items()}
    with accounts_of_files(machine):
        times = measure(machine, "entrypoint", user="root", rounds=40, entrypoints=entrypoints)
    measured = "roothooks, two hooks: command's first instruction"
    yield compare(measured, PYTHON, times["first"], 1 / 20)
