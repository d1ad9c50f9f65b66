"""The same directory of hooks to our entrypoint and to jupyterhub-roothooks 0.2.1 from PyPI.

What hooks and command see of themselves is compared; where ours differs, the test says in what.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.mediator import SERVER
from system.roothooks import NO_ACCOUNT, Container

PROBE = "/opt/roothooks-probe"
HOOKS = "/etc/compared-roothooks.d"

# A hook's whole view of itself, as lines; then one line to each output, so that their order shows.
REPORT = """#!/bin/sh
echo "hook $(basename "$0") $*"
echo "directory $PWD"
echo "ids $(id -u) $(id -g) $(id -G)"
echo "umask $(umask)"
env | sort | sed 's/^/variable /' | grep -v '^variable _='
ls /proc/self/fd | sed 's/^/descriptor /'
echo "to the error output" >&2
echo "last of $(basename "$0")"
"""


@pytest.fixture(scope="module")
def programs(machine: Machine, hub6: Cache, upstream: Cache) -> Iterator[dict[str, Container]]:
    """Ours and theirs, with the same hooks, and a command that reports what it sees."""
    machine.write(PROBE, SERVER.read_text(), mode=0o755)
    places = {"ours": hub6.bin, "theirs": upstream.bin}
    programs = {
        name: Container(machine, place / "jupyterhub-roothooks", HOOKS)
        for name, place in places.items()
    }
    yield programs
    programs["ours"].remove()


@pytest.fixture(autouse=True)
def hooks(programs: dict[str, Container]) -> None:
    """The directory: two hooks, one between them that fails, and what is none."""
    container = programs["ours"]
    container.remove()
    container.add_hook("01-first", REPORT)
    container.add_hook("05 fails", "#!/bin/sh\necho failing\nexit 7\n")
    container.add_hook("10-second", REPORT)
    container.add_hook("20-plain", REPORT, mode=0o644)
    container.machine.run(["mkdir", f"{HOOKS}/30-folder"])


ENVIRONMENT = {
    "JUPYTERHUB_API_TOKEN": "secret",
    "TEXT": "a=b  'c' $HOME",
    "EMPTY": "",
    "PYTHONPATH": "/nowhere",
}
SPELLINGS = {
    "equals signs": [f"--hooks-dir={HOOKS}", f"--uid={NO_ACCOUNT}", "--gid=100"],
    "spaces": ["--hooks-dir", HOOKS, "--uid", str(NO_ACCOUNT), "--gid", "100"],
    "traits": [
        *(f"--RootHooks.hooks_dir={HOOKS}", f"--RootHooks.uid={NO_ACCOUNT}"),
        *("--RootHooks.gid", "100", "--RootHooks.hook_timeout=5", "--RootHooks.log_level=INFO"),
    ],
}


def run(container: Container, options: list[str], *command: str) -> tuple[int, list[str]]:
    """Exit status, and the lines of both outputs, which are one file as in a pod's log."""
    process = container.machine.start(
        [container.program, *options, "--", *command],
        env=ENVIRONMENT,
        cwd="/usr/share",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output, _ = process.communicate()
    return process.returncode, output.splitlines()


def without_own_lines(lines: list[str]) -> list[str]:
    """The lines that neither program wrote itself."""
    own = re.compile(r"\[RootHooks\] |\[[A-Z] jupyterhub-roothooks\] |executing ")
    return [line for line in lines if not own.match(line)]


@pytest.mark.parametrize("options", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_hooks_see_the_same_and_are_heard_in_the_same_order(
    programs: dict[str, Container], options: list[str]
) -> None:
    seen = {
        name: run(container, options, "sh", "-c", "echo command; exit 3")
        for name, container in programs.items()
    }
    ours, theirs = (without_own_lines(seen[name][1]) for name in ("ours", "theirs"))
    assert ours == theirs
    assert seen["ours"][0] == seen["theirs"][0] == 3
    assert [line for line in ours if line.startswith(("last", "failing", "command"))] == [
        *("last of 01-first", "failing", "last of 10-second", "command")
    ]
    for expected in ("directory /usr/share", "ids 0 0 0", "variable TEXT=a=b  'c' $HOME"):
        assert ours.count(expected) == 2, expected


@pytest.mark.parametrize("options", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_the_command_sees_the_same_of_itself(
    programs: dict[str, Container], options: list[str]
) -> None:
    seen: dict[str, Any] = {}
    for name, container in programs.items():
        file = f"/tmp/roothooks-{name}.json"
        status, _ = run(container, options, PROBE, "report", file, "a b", "--uid=0", "exit", "0")
        assert status == 0
        seen[name] = json.loads(container.machine.read(file))
        container.machine.run(["rm", file])
        # The Python tool passes on what its own caller ignored of these.
        del seen[name]["ignored_realtime"]
        seen[name]["argv"].remove(file)
    assert seen["ours"] == seen["theirs"]
    ours = seen["ours"]
    assert ours["cwd"] == "/usr/share"
    assert ours["uids"] == [NO_ACCOUNT] * 3 and ours["gids"] == [100] * 3 and ours["groups"] == []
    assert ours["env"].items() >= ENVIRONMENT.items()


def test_the_command_has_the_pid_of_the_entrypoint(programs: dict[str, Container]) -> None:
    for container in programs.values():
        words = container.words("sh", "-c", "echo $$")
        ended = container.machine.run(["sh", "-c", 'echo $$; exec "$@"', "sh", *words])
        numbers = [line for line in ended.stdout.splitlines() if line.isdigit()]
        assert len(numbers) == 2 and numbers[0] == numbers[1], ended.stdout


def test_the_end_by_a_signal_is_the_same(programs: dict[str, Container]) -> None:
    statuses = {
        name: run(container, SPELLINGS["spaces"], "sh", "-c", "kill -TERM $$")[0]
        for name, container in programs.items()
    }
    assert statuses == {"ours": -signal.SIGTERM, "theirs": -signal.SIGTERM}


def test_what_keeps_the_command_from_starting_with_theirs_does_not_with_ours(
    programs: dict[str, Container],
) -> None:
    ours, theirs = programs["ours"], programs["theirs"]
    missing = ["--hooks-dir=/etc/no-such-directory"]
    assert theirs.run("echo", "started", options=missing, check=False).returncode == 1
    assert ours.run("echo", "started", options=missing).stdout == "started\n"
    ours.add_hook("02-no-shebang", "echo hello\n")
    assert theirs.run("echo", "started", check=False).returncode == 1
    assert ours.run("echo", "started").stdout.endswith("started\n")


def test_theirs_runs_what_anyone_owns_and_ours_only_if_that_is_trusted(
    programs: dict[str, Container],
) -> None:
    ours, theirs = programs["ours"], programs["theirs"]
    ours.machine.run(["chown", "-R", "zoe", HOOKS])
    for container, options in ((theirs, []), (ours, ["--trust-hooks-dir"])):
        assert "hook 01-first" in container.run("true", options=options).stdout
    assert ours.run("true").stdout == ""


def test_theirs_leaves_capabilities_in_the_bounding_set_and_ours_none(
    programs: dict[str, Container],
) -> None:
    sets = {}
    for name, container in programs.items():
        output = container.run("grep", "-E", "CapBnd|NoNewPrivs", "/proc/self/status").stdout
        sets[name] = [line for line in output.split("\n") if line.startswith(("Cap", "NoNew"))]
    assert sets["ours"] == ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]
    assert sets["theirs"] != sets["ours"]
