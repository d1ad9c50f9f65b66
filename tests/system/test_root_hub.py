"""A real Hub in root mode, with the files of `sudoers/` and the hook that `docs/hooks.md` shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from machine.caches import Cache
from machine.hub import Hub, HubError
from machine.installation import EXAMPLE_PATH, SUDOERS
from machine.kernel import Kernel
from machine.machine import Machine
from system.browser import log_in
from system.how_to import read_program
from system.mediator import wait_until

POLICY = Path("/etc/sudospawner/policy.toml")
HOOKS = POLICY.parent / "roothooks.d"
CONFIGURATION = """
c.SudoSpawner.mode = "root"
# The request returns at once, so that the whole start can be watched.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
"""

# What a hook may print, and nobody's page may execute.
MARKUP = "<script>window.owned = true</script>"
WAITS = "#!/bin/sh\nuntil [ -e /run/go-on ]; do sleep 0.05; done\n"
FAILS = f"#!/bin/sh\necho '{MARKUP}' >&2\nexit 4\n"

# The number of a FUSE mount among the kernel's connections is its device's minor number.
LOOK_AT_PROJECTS = """
import os
place = "/mnt/projects"
stat = os.stat(place)
print(open(place + "/data").read(), stat.st_uid == os.getuid(), os.minor(stat.st_dev))
"""


@pytest.fixture(scope="module")
def running_hub(machine: Machine, hub6: Cache) -> Iterator[Hub]:
    """A Hub in root mode, for all tests of this file; the machine has its sudo rule, and FUSE."""
    rules = (SUDOERS / "sudospawner-root-mode").read_text()
    place = "/etc/sudoers.d/sudospawner-root-mode"
    machine.write(place, rules.replace(EXAMPLE_PATH, str(hub6.bin / "sudospawner")), mode=0o440)
    machine.run(["visudo", "--check", "--strict"])
    machine.run("test -e /dev/fuse || mknod -m 666 /dev/fuse c 10 229")
    machine.run("mkdir /run/fuse && mount -t fusectl fusectl /run/fuse")
    with Hub(machine, hub6, configuration=CONFIGURATION, port=8020) as hub:
        yield hub
    machine.run(["rm", place])


@pytest.fixture
def root_hub(running_hub: Hub) -> Iterator[Hub]:
    """The Hub with the example policy and without hooks; no server runs before or after a test.

    The policy is there during the test alone, since it counts for every mediator of the machine.
    """
    machine = running_hub.machine
    machine.write(POLICY, (SUDOERS / "policy.toml").read_text())
    yield running_hub
    running_hub.stop_all_servers()
    machine.run(["rm", "-rf", POLICY.parent])
    keepers = "sudospawner-keeper"
    wait_until(lambda: list_processes(machine, keepers) == [], "the end of every keeper")


def list_processes(machine: Machine, name: str) -> list[str]:
    """The pids of processes that go by this name."""
    return machine.run(["pgrep", "--full", f"^{name}\\b"], check=False).stdout.split()


def add_hook(machine: Machine, name: str, program: str) -> None:
    """Put a hook into the folder that the example policy names."""
    machine.write(HOOKS / name, program, mode=0o755)


def wait_for_nothing(machine: Machine) -> None:
    """Wait until no process of zoe's is there; what has ended waits for PID 1 to notice."""
    pgrep = ["pgrep", "--uid", "zoe"]
    wait_until(lambda: machine.run(pgrep, check=False).stdout == "", "the end of zoe's processes")


def start_and_watch(hub: Hub, user: str) -> list[str]:
    """Start a server; returns all messages that its user sees until it is ready or has failed."""
    hub.request("POST", f"/hub/api/users/{user}/server")
    events = list(hub.follow_progress(user))
    messages = [event["message"] for event in events]
    told = [event for event in events if not event.get("ready") and not event.get("failed")]
    assert not any("html_message" in event for event in told)
    assert events[-1].get("ready"), messages
    return messages


def find_message(messages: list[str], beginning: str) -> str:
    """The message that begins so."""
    [found] = [message for message in messages if message.startswith(beginning)]
    return found


def test_a_server_starts_and_stops_without_hooks(root_hub: Hub) -> None:
    start_and_watch(root_hub, "zoe")
    owner = ["stat", "--format=%U", f"/proc/{root_hub.find_pid('zoe')}"]
    assert root_hub.machine.run(owner).stdout == "zoe\n"
    with Kernel(root_hub, "zoe") as kernel:
        assert kernel.run("import os; print(os.getcwd())") == "/home/zoe\n"
    root_hub.stop_server("zoe")
    wait_for_nothing(root_hub.machine)


def test_a_hook_that_fails_and_one_that_works_are_on_the_page_and_the_server_runs(
    root_hub: Hub,
) -> None:
    add_hook(root_hub.machine, "10-fails", FAILS)
    add_hook(root_hub.machine, "20-works", "#!/bin/sh\necho $SUDOSPAWNER_USER >/run/hooked\n")
    messages = start_and_watch(root_hub, "zoe")
    order = [
        messages.index("Hook 10-fails is running"),
        messages.index(find_message(messages, "Hook 10-fails failed with exit status 4 after ")),
        messages.index("Hook 20-works is running"),
        messages.index(find_message(messages, "Hook 20-works was done in ")),
        messages.index(find_message(messages, "The server has started")),
    ]
    assert order == sorted(order)
    assert messages[order[1]].endswith(f"s: {MARKUP}")
    assert root_hub.machine.read("/run/hooked") == "zoe\n"
    with Kernel(root_hub, "zoe") as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    log = root_hub.read_log().splitlines()
    assert any("[W " in line and messages[order[1]] in line for line in log)
    assert any("[I " in line and messages[order[3]] in line for line in log)


def test_users_read_of_the_hooks_on_the_page_while_their_server_starts(
    root_hub: Hub, page: Page, artifacts: Path
) -> None:
    machine = root_hub.machine
    policy = (SUDOERS / "policy.toml").read_text()
    patient = policy.replace("# timeout_seconds = 5", "timeout_seconds = 150")
    assert patient != policy
    machine.write(POLICY, patient)
    add_hook(machine, "10-fails", FAILS)
    add_hook(machine, "20-waits", WAITS)
    log_in(page, root_hub, "zoe", "/hub/spawn")
    expect(page.locator("body")).to_contain_text("Hook 20-waits is running")
    page.get_by_text("Event log").click()
    expect(page.locator("body")).to_contain_text(MARKUP)
    page.screenshot(path=artifacts / "hooks-on-the-page.png", full_page=True)
    assert page.evaluate("window.owned") is None
    machine.write("/run/go-on", "")
    page.wait_for_url(f"{root_hub.url}/user/zoe/**", timeout=120_000)
    machine.run(["rm", "/run/go-on"])


def test_a_server_of_user_mode_is_found_and_stopped_after_the_change_to_root_mode(
    root_hub: Hub,
) -> None:
    root_hub.configure(CONFIGURATION.replace('"root"', '"user"'))
    root_hub.restart()
    start_and_watch(root_hub, "zoe")
    pid = root_hub.find_pid("zoe")
    root_hub.configure(CONFIGURATION)
    root_hub.restart()
    assert root_hub.find_pid("zoe") == pid
    root_hub.stop_server("zoe")
    wait_for_nothing(root_hub.machine)


def test_where_the_policy_says_so_a_hook_that_fails_stops_the_server_and_tells_why(
    root_hub: Hub,
) -> None:
    policy = (SUDOERS / "policy.toml").read_text()
    strict = policy.replace('# on_failure = "continue"', 'on_failure = "fail"')
    assert strict != policy
    root_hub.machine.write(POLICY, strict)
    add_hook(root_hub.machine, "10-fails", FAILS)
    with pytest.raises(HubError) as failure:
        root_hub.start_server("zoe")
    assert "10-fails" in failure.value.message
    assert MARKUP in failure.value.message
    wait_for_nothing(root_hub.machine)


def test_an_account_that_the_policy_does_not_permit_is_told_so(root_hub: Hub) -> None:
    with pytest.raises(HubError) as refusal:
        root_hub.start_server("mal")
    assert "targets.groups" in refusal.value.message


def test_the_example_hook_mounts_for_its_server_alone_and_is_gone_with_it(root_hub: Hub) -> None:
    machine = root_hub.machine
    policy = (SUDOERS / "policy.toml").read_text()
    machine.write(POLICY, policy.replace("# timeout_seconds = 5", "timeout_seconds = 60"))
    program = read_program("hooks.md", "/etc/sudospawner/roothooks.d/20-projects")
    add_hook(machine, "20-projects", program)
    for user in ("zoe", "wash"):
        machine.write(f"/srv/projects/{user}/data", f"{user}'s", owner="rhea", mode=0o600)
        machine.run(["chown", "rhea:", f"/srv/projects/{user}"])
        messages = start_and_watch(root_hub, user)
        assert "your projects are in /mnt/projects" in find_message(
            messages, "Hook 20-projects was done"
        )
    connections = {}
    for user in ("zoe", "wash"):
        with Kernel(root_hub, user) as kernel:
            text, owned, connections[user] = kernel.run(LOOK_AT_PROJECTS).rsplit(maxsplit=2)
            assert (text, owned) == (f"{user}'s", "True")
            kernel.run("open('/mnt/projects/new', 'w').write('written')")
        new = f"/srv/projects/{user}/new"
        assert machine.run(["stat", "--format=%U", new]).stdout == "rhea\n"
        assert machine.run(["test", "-d", f"/run/fuse/{connections[user]}"]).returncode == 0
    assert "bindfs" not in machine.read("/proc/1/mounts")
    assert len(list_processes(machine, "bindfs")) == 2
    assert len(list_processes(machine, "sudospawner-keeper")) == 2

    root_hub.restart()
    with Kernel(root_hub, "zoe") as kernel:
        assert kernel.run(LOOK_AT_PROJECTS).startswith("zoe's True")

    [of_zoe] = list_processes(machine, "bindfs .*/srv/projects/zoe")
    root_hub.stop_server("zoe")
    is_there = ["test", "-e", f"/proc/{of_zoe}"]
    wait_until(lambda: machine.run(is_there, check=False).returncode != 0, "the daemon's end")
    is_mounted = ["test", "-e", f"/run/fuse/{connections['zoe']}"]
    wait_until(lambda: machine.run(is_mounted, check=False).returncode != 0, "the mount's end")
    with Kernel(root_hub, "wash") as kernel:
        assert kernel.run(LOOK_AT_PROJECTS).startswith("wash's True")
    root_hub.stop_server("wash")
    wait_until(lambda: list_processes(machine, "bindfs") == [], "the end of the other daemon")
