"""`jupyterhub-roothooks` as a container's entrypoint under runc, as a kubelet has it started.

What hooks and command may do is what the pod says and docs/kubernetes.md promises, beside
jupyterhub-roothooks 0.2.1 from PyPI in the same containers.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.catalogue import cache_named
from machine.installation import REPOSITORY, install_wheel
from machine.machine import Machine, MachineError
from system.bundle import FIRST_ID, Bundle, SecurityContext, boot_node, map_root
from system.pods import GID, LOOK, PAGE, ROWS, UID, Row, drop_all, start, take_outcome
from system.roothooks import NO_ACCOUNT, Container, read_status


@pytest.fixture(scope="module")
def node() -> Iterator[Machine]:
    """A machine with runc, and our wheel."""
    with boot_node() as machine:
        install_wheel(machine, cache_named("hub6"))
        yield machine


@pytest.fixture(scope="module")
def bundle(node: Machine) -> Bundle:
    """A bundle whose image is what is installed on the machine."""
    return Bundle(node)


@pytest.fixture(scope="module")
def programs(node: Machine) -> dict[str, Container]:
    """Ours and theirs, with the same directory of hooks."""
    places: dict[str, Cache] = {"ours": cache_named("hub6"), "theirs": cache_named("upstream")}
    return {
        name: Container(node, place.bin / "jupyterhub-roothooks") for name, place in places.items()
    }


@pytest.fixture
def entrypoint(programs: dict[str, Container]) -> Iterator[Container]:
    """Our program, and an empty directory of hooks."""
    container = programs["ours"]
    container.machine.run(["mkdir", "--parents", container.hooks])
    yield container
    container.remove()


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_hook_and_command_have_what_the_pod_says_and_the_page_promises(
    entrypoint: Container, programs: dict[str, Container], bundle: Bundle, row: Row
) -> None:
    entrypoint.add_hook("01-look", LOOK)
    options = [f"--uid={UID}", f"--gid={GID}", *row.options]
    ended = {
        name: bundle.run(program.words("cat", "/proc/self/status", options=options), row.context)
        for name, program in programs.items()
    }
    seen = {name: take_outcome(process) for name, process in ended.items()}
    assert seen == {"ours": row.ours, "theirs": row.theirs}, ended
    assert row.says in ended["ours"].stderr


# A hook for each line of the page's table of capabilities that needs more than the others.
HOOKS = {
    "CHOWN": f"install --directory --owner={UID} --mode=0700 /mnt/home",
    "DAC_OVERRIDE FOWNER": "echo more >>/srv/others/file && chmod 0640 /srv/others/file",
    "SYS_ADMIN": "mount -t tmpfs tmpfs /srv",
    "NET_ADMIN": "ip route add blackhole 169.254.169.254",
}
VOLUME_OF_ROOT = {
    "destination": "/mnt",
    "type": "tmpfs",
    "source": "tmpfs",
    "options": ["mode=755"],
}


@pytest.mark.parametrize(("needs", "hook"), HOOKS.items(), ids=HOOKS.keys())
def test_a_hook_needs_the_capabilities_that_the_page_says_and_no_more(
    entrypoint: Container, bundle: Bundle, needs: str, hook: str
) -> None:
    machine = entrypoint.machine
    machine.write("/srv/others/file", "one\n", owner="zoe", mode=0o600)
    machine.run("chown zoe /srv/others; chmod 0700 /srv/others")
    entrypoint.add_hook("01", f"#!/bin/sh\n{hook}\n")
    names = frozenset(needs.split())

    def run(*capabilities: str) -> subprocess.CompletedProcess[str]:
        context = drop_all(*PAGE, *capabilities)
        return bundle.run(entrypoint.words("echo", "started"), context, mounts=[VOLUME_OF_ROOT])

    for missing in names:
        ended = run(*names - {missing})
        assert "01 finished with exit code 0" not in ended.stderr, missing
        assert ended.stdout == "started\n"
    ended = run(*names)
    machine.run("rm -r /srv/others")
    assert "01 finished with exit code 0" in ended.stderr
    assert ended.stdout == "started\n"


def test_each_capability_of_the_page_has_been_tried() -> None:
    page = (REPOSITORY / "docs/kubernetes.md").read_text()
    table = page.partition("| for | `add` | and |")[2].partition("\n\n")[0]
    cells = [row.split("|")[2] for row in table.splitlines()[2:]]
    assert set(re.findall(r"`(\w+)`", "".join(cells))) == PAGE | set(" ".join(HOOKS).split())


def test_a_hook_that_became_another_user_is_ended_only_with_kill(
    entrypoint: Container, bundle: Bundle
) -> None:
    """Without it, the command starts beside what is left of the hook, and the log says so."""
    become = "exec setpriv --reuid=1001 --clear-groups sleep 7777"
    entrypoint.add_hook("01-became", f"#!/bin/sh\n{become}\n")
    words = entrypoint.words("pgrep", "--count", "sleep", options=["--hook-timeout=1"])
    ended = bundle.run(words, drop_all(*PAGE))
    assert ended.stdout == "0\n"
    assert "was ended, with all that it had started\n" in ended.stderr
    left = bundle.run(words, drop_all(*PAGE - {"KILL"}))
    assert left.stdout == "1\n"
    assert "was ended, with all that it had started\n" not in left.stderr
    assert "needs the capability KILL" in left.stderr


def test_what_a_daemon_of_a_hook_mounts_with_fuse_is_there_for_the_command(
    entrypoint: Container, bundle: Bundle
) -> None:
    entrypoint.add_hook("01", "#!/bin/sh\nbindfs -o ro,allow_other /etc/roothooks.d /srv\n")
    fuse = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}
    words = entrypoint.words("sh", "-c", "ls /srv; touch /srv/02; ps --format user= -C bindfs")
    ended = bundle.run(words, drop_all(*PAGE, "SYS_ADMIN"), devices=[fuse])
    assert ended.stdout == "01\nroot\n", ended
    assert "Read-only file system" in ended.stderr


def test_a_volume_of_fs_group_is_open_to_the_command_only_if_groups_names_it(
    entrypoint: Container, programs: dict[str, Container], bundle: Bundle
) -> None:
    volume = {**VOLUME_OF_ROOT, "options": ["mode=2770", "gid=2000"]}
    context = SecurityContext(fs_group=2000)

    def write(program: Container, *options: str) -> str:
        script = "touch /mnt/notes && stat --format=%u:%g /mnt/notes"
        words = program.words("sh", "-c", script, options=options)
        return bundle.run(words, context, mounts=[volume]).stdout

    assert write(entrypoint) == ""
    assert write(entrypoint, "--groups=2000") == f"{NO_ACCOUNT}:2000\n"
    assert "2000" not in write(programs["theirs"], "--groups=2000")


def test_a_config_map_as_the_directory_of_hooks_has_to_be_trusted(
    entrypoint: Container, bundle: Bundle
) -> None:
    """As a kubelet mounts one with fsGroup: links into a folder that is the group's, read-only."""
    entrypoint.machine.run(
        "mkdir -p /srv/map/..now && ln -s ..now /srv/map/..data && ln -s ..data/01 /srv/map/01 && "
        "printf '#!/bin/sh\\necho says; touch /etc/roothooks.d/02\\n' >/srv/map/..now/01 && "
        "chmod 0755 /srv/map/..now/01 && chgrp -R 2000 /srv/map && chmod 2775 /srv/map"
    )
    mount = {
        "destination": "/etc/roothooks.d",
        "type": "bind",
        "source": "/srv/map",
        "options": ["rbind", "rprivate", "ro"],
    }
    refused, trusted = (
        bundle.run(
            entrypoint.words("echo", "started", options=options),
            SecurityContext(fs_group=2000),
            mounts=[mount],
        )
        for options in ([], ["--trust-hooks-dir"])
    )
    entrypoint.machine.run("rm -r /srv/map")
    assert refused.stdout == "started\n"
    assert "is not run" in refused.stderr and "--trust-hooks-dir" in refused.stderr
    assert trusted.stdout == "says\nstarted\n"
    assert "Read-only file system" in trusted.stderr


def test_the_end_of_a_pod_reaches_the_command_through_the_init(
    entrypoint: Container, bundle: Bundle
) -> None:
    """The first process of a container has no default actions of signals, its children have."""
    options = ["--init", "--hook-timeout=60"]
    script = "grep -E '^(Uid|NoNewPrivs|CapPrm):' /proc/1/status; echo ready; exec sleep 7777"
    words = bundle.write(entrypoint.words("sh", "-c", script, options=options), SecurityContext())
    process = entrypoint.machine.start(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = "".join(iter(process.stdout.readline, "ready\n"))
    entrypoint.machine.run(["runc", "kill", words[-1], "TERM"])
    assert process.wait() == 128 + signal.SIGTERM
    process.stdout.close()
    status = read_status(seen)
    assert status["Uid"].split() == [str(NO_ACCOUNT)] * 4
    assert (status["NoNewPrivs"], int(status["CapPrm"], 16)) == ("1", 0)


def test_in_a_pod_with_users_of_its_own_all_is_the_same(
    entrypoint: Container, bundle: Bundle
) -> None:
    """With hostUsers: false. Of other ids the kernel knows nothing there, which is refused."""
    machine = entrypoint.machine
    try:
        root = map_root(machine, "/run/mapped")
    except MachineError as error:
        pytest.skip(f"the file system of the caches cannot be mapped: {error}")
    entrypoint.add_hook("01-look", LOOK + "mount -t tmpfs tmpfs /srv && touch /srv/mounted\n")
    for source, place in ((entrypoint.hooks, f"{root}/etc"), (entrypoint.program, f"{root}/opt")):
        machine.run(["cp", "--recursive", source, place])
        machine.run(["chown", "--recursive", f"{FIRST_ID}:{FIRST_ID}", f"{place}/{source.name}"])
    apart = Bundle(machine, root, host_users=False)
    row = start(drop_all(*PAGE, "SYS_ADMIN"), 100)

    def run(uid: int, group: int, *command: str) -> subprocess.CompletedProcess[str]:
        ids = [f"--uid={uid}", f"--gid={GID}", f"--groups={group}"]
        return apart.run(["/opt/jupyterhub-roothooks", *ids, "--", *command], row.context)

    assert take_outcome(run(UID, 100, "cat", "/proc/self/status")) == row.ours
    script = "ls /srv; cat /proc/self/uid_map"
    said = run(UID, 100, "sh", "-c", script).stdout.partition("mounted\n")[2]
    assert said.split() == ["0", str(FIRST_ID), "65536"]
    for uid, group in ((70000, 100), (UID, 70000)):
        refused = run(uid, group, "echo", "started")
        assert refused.returncode == 1 and "started" not in refused.stdout
        assert "hostUsers: false" in refused.stderr
