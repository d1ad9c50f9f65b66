"""What docs/hooks.md says, done as it stands there, leads to hooks round a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.installation import REPOSITORY
from machine.machine import Machine
from system.after_hooks import LAUNCHERS, Followed, followed_in
from system.how_to import read_program, read_sections, run_section
from system.mediator import RootMediator

HOME = "/etc/sudospawner/roothooks.d/10-home"
PROJECTS = "/etc/sudospawner/roothooks.d/20-projects"
AFTER_PROJECTS = "/etc/sudospawner/afterhooks.d/20-projects"
# Room for a slow computer: by default a hook has 5 seconds.
POLICY = """
[hooks]
credentials = "/etc/sudospawner/credentials"
timeout_seconds = 60
"""
KEYS = "a name:a secret"
SHOWS_KEYS = '#!/bin/sh\ncat "$SUDOSPAWNER_CREDENTIALS"\n'
# What the page has systemd start for all servers of a user.
SHARES = """\
#!/bin/sh
unit="projects-$SUDOSPAWNER_UID"
systemctl is-active --quiet "$unit" || systemd-run --quiet --collect --unit="$unit" sleep 9999
"""


@pytest.fixture
def prepared(machine: Machine, hub6: Cache) -> Iterator[RootMediator]:
    """A mediator in root mode, and in root's home what the page installs from there."""
    binary = hub6.bin / "sudospawner"
    mediator = RootMediator.install(machine, "/opt/hooks-page/bin", binary)
    machine.run("test -e /dev/fuse || mknod -m 666 /dev/fuse c 10 229")
    machine.write("/root/10-home", read_program("hooks.md", HOME))
    machine.write("/root/zoe.keys", KEYS)
    machine.write("/srv/projects/zoe/data", "zoe's", owner="rhea")
    machine.write(PROJECTS, read_program("hooks.md", PROJECTS), mode=0o755)
    yield mediator
    mediator.kill_processes()
    mediator.remove_all()
    machine.run("rm -r /root/10-home /root/zoe.keys /srv/projects")


def test_the_commands_of_the_page_lead_to_hooks_that_run(prepared: RootMediator) -> None:
    machine = prepared.machine
    for section in read_sections(REPOSITORY / "docs/hooks.md"):
        run_section(section, machine, env={})
    # The page has whoever tries a hook by hand end what it leaves.
    machine.run(["pkill", "bindfs"])
    prepared.set_policy(POLICY)
    prepared.add_hook("30-keys", SHOWS_KEYS)
    spawned = prepared.spawn()
    told = {hook["name"]: (hook["status"], hook["output"]) for hook in spawned.reply["hooks"]}
    assert told == {
        "10-home": ("ok", ""),
        "20-projects": ("ok", "your projects are in /mnt/projects\n"),
        "30-keys": ("ok", KEYS),
    }
    assert prepared.stop(spawned)["alive"] is False


@pytest.fixture(params=LAUNCHERS)
def followed(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Followed]:
    """A mediator with a hook before and one after, in each launcher."""
    with followed_in(request.param, machine, hub6.bin / "sudospawner") as followed:
        yield followed


def test_what_servers_of_a_user_share_goes_with_the_last_of_them(followed: Followed) -> None:
    """The page's hook runs before the one that writes the diary: their names are in reverse."""
    followed.mediator.add_hook("20-projects", SHARES)
    followed.add_after("20-projects", read_program("hooks.md", AFTER_PROJECTS))
    uid = followed.machine.look_up_account("zoe").uid
    is_active = ["systemctl", "is-active", f"projects-{uid}"]

    def look() -> str:
        return str(followed.machine.run(is_active, check=False).stdout)

    first = followed.mediator.spawn()
    second = followed.mediator.spawn(server_name="second")
    assert look() == "active\n", (first, second)
    followed.end(first)
    followed.await_diary(3)
    assert look() == "active\n"
    stop = {"action": "stop", "pid": second.reply["pid"], "server_name": "second"}
    assert followed.mediator.call({**stop, "interrupt_seconds": 0}).reply["alive"] is False
    followed.await_diary(4)
    assert look() == "inactive\n"
