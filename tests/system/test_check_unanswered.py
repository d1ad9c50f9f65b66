"""`sudospawner check` ends where files never answer: it names them, and says all the rest.

A file server is stopped by SIGSTOP, so that whoever looks at a file on it waits in the kernel,
where no signal reaches it. A check of the healthy machine says what else the report has to have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.homes import HOME, FileServer, wait_for_the_end
from system.mediator import Mediator, RootMediator, wait_until
from system.units import mediator_in

PLACE = "/srv/slow"
# Longer than a slow computer takes for any check, and shorter than the files hang.
IN_TIME = 240.0

Finding = tuple[str, str, str, str]


@dataclass(frozen=True)
class Silence:
    """Files that do not answer, and what the check says of them.

    `keys` are lines of the policy, `path` stands before the Hub's PATH. `codes` are those of the
    findings that the silence takes away, `code` is that of the one in their place.
    """

    name: str
    code: str
    codes: tuple[str, ...]
    level: str = "problem"
    mode: str = "user"
    viewer: str = "root"
    hub: str = "rhea"
    place: str = PLACE
    keys: str = ""
    path: str = ""


SERVERS = f'[server]\ndirectory = "{PLACE}"\n'
SILENCES = [
    Silence("home_for_its_owner", "home_unresponsive", ("home_missing",), viewer="zoe", place=HOME),
    Silence("servers", "server_unresponsive", ("server_missing",), keys=SERVERS),
    Silence(
        "servers_for_the_hub",
        "server_unresponsive",
        ("server_missing",),
        viewer="rhea",
        keys=SERVERS,
    ),
    # They are zoe's, as the whole place is.
    Silence(
        "hooks",
        "unanswered",
        ("hooks_refused",),
        mode="root",
        keys=f'[hooks]\ndir = "{PLACE}"\n',
    ),
    Silence(
        "path_of_the_hub",
        "sudospawner_path",
        ("sudospawner_path",),
        level="warning",
        # Not rhea, whose Hub may run here for other tests, with a PATH of its own.
        viewer="wash",
        hub="wash",
        path=f"{PLACE}:",
    ),
]


@pytest.fixture(params=SILENCES, ids=lambda silence: silence.name)
def silence(request: pytest.FixtureRequest) -> Silence:
    """One kind of files that do not answer."""
    return request.param


@pytest.fixture
def mediator(silence: Silence, machine: Machine, hub6: Cache) -> Iterator[Mediator]:
    """A mediator in the mode of this case, with its policy."""
    with mediator_in(silence.mode, machine, hub6.bin / "sudospawner") as mediator:
        targets = 'hub_users = ["rhea"]\n[targets]\ngroups = ["jupyterhub"]\n'
        machine.write(RootMediator.POLICY, targets + silence.keys)
        yield mediator


@pytest.fixture
def server(silence: Silence, mediator: Mediator) -> Iterator[FileServer]:
    """The files on a file server; when it has come back, no process may have stayed."""
    mediator.machine.run(["mkdir", "--parents", silence.place])
    server = FileServer(mediator.machine, home=silence.place)
    try:
        yield server
        server.resume()
        wait_for_the_end(mediator)
        # Of whichever account: what waited has been killed, and now can end.
        looks = ["pgrep", "--full", str(mediator.path)]
        wait_until(
            lambda: mediator.machine.run(looks, check=False).stdout == "", "the end of all looks"
        )
    finally:
        server.unmount()


def check(mediator: Mediator, silence: Silence) -> tuple[set[Finding], int]:
    """What the check says, and its exit status."""
    words = [mediator.path, "check", "--json", f"--mode={silence.mode}", "--pam=no"]
    path = f"{silence.path}/usr/local/bin:/usr/bin:/bin"
    run = mediator.machine.run(
        [*words, f"--hub-user={silence.hub}", "--user=zoe"],
        user=silence.viewer,
        env={"PATH": path},
        cwd="/",
        check=False,
        timeout=IN_TIME,
    )
    findings = json.loads(run.stdout)["findings"]
    return {
        (one["code"], one["level"], one["sentence"], one.get("remedy", "")) for one in findings
    }, run.returncode


def test_files_that_never_answer_are_named_and_hide_nothing_else(
    mediator: Mediator, server: FileServer, silence: Silence
) -> None:
    before, _ = check(mediator, silence)
    server.stop()
    after, status = check(mediator, silence)
    assert {code for code, *_ in before - after} == set(silence.codes)
    [(code, level, sentence, remedy)] = after - before
    assert (code, level) == (silence.code, silence.level)
    assert "did not answer within 5 s" in sentence
    # The place, and what serves it.
    assert f"{silence.place} is mounted from /srv/served/zoe (fuse" in sentence
    if level == "problem":
        assert status == 1
    if level == "problem" and silence.viewer == "root":
        assert "fuse" in mediator.machine.run(remedy).stdout
