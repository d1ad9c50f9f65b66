"""A bucket for each user, mounted by the hooks of `examples/s3` as they are, with users' own keys.

The server with the buckets checks the signature of each request.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from machine.catalogue import cache_named
from machine.installation import REPOSITORY
from machine.machine import Machine
from system.after_hooks import LAUNCHERS, Followed, followed_in
from system.conftest import install_what_is_tested
from system.how_to import read_program
from system.mediator import Answer, wait_for_file, wait_until

EXAMPLES = REPOSITORY / "examples/s3"
FOLDER = "/etc/sudospawner/credentials"
# Room for a slow computer: by default a hook has 5 seconds.
SECRETS = f'credentials = "{FOLDER}"\ntimeout_seconds = 60\n'
PLACE = "/mnt/s3"
CERTIFICATE, KEY = "/usr/local/share/ca-certificates/s3.crt", "/root/s3.key"
LOG = "/root/s3.log"
NAME = "s3.example.org"
CERTIFY = f"""\
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={NAME} \\
    -addext subjectAltName=DNS:{NAME} -keyout {KEY} -out {CERTIFICATE}
update-ca-certificates
echo "127.0.0.1 {NAME}" >>/etc/hosts
"""
# Writes what it finds in a bucket, adds a line, and reads it.
SERVER = """\
#!/bin/sh
cd "$1" && {
    stat --format='%a %U %G' .
    ls -A
    echo "a line" >>notes
    cat notes
    mkdir -p folder && echo deep >folder/file && cat folder/file
} >/tmp/seen.draft 2>&1
mv /tmp/seen.draft /tmp/seen
exec sleep 9999
"""


class Store(NamedTuple):
    """A machine with a server of buckets, and the keys of accounts, a line each."""

    machine: Machine
    keys: dict[str, str]


@pytest.fixture(scope="module")
def store(debian: int) -> Iterator[Store]:
    """A machine of this file's own, with s3fs and a server that it trusts."""
    with Machine(release=debian) as machine:
        install_what_is_tested(machine, cache_named("hub6"))
        machine.run("test -e /dev/fuse || mknod -m 666 /dev/fuse c 10 229")
        machine.run(f"dpkg --force-unsafe-io --install {cache_named('buckets').path}/*.deb")
        machine.run(["sh", "-ec", CERTIFY])
        program = "/opt/bucket_server.py"
        machine.write(program, Path(__file__).with_name("bucket_server.py").read_text())
        python = cache_named("moto").bin / "python"
        serve = f"exec {python} {program} {CERTIFICATE} {KEY} zoe wash 2>{LOG}"
        with machine.start(serve, stdout=subprocess.PIPE, text=True) as serving:
            assert serving.stdout is not None
            keys = {account: serving.stdout.readline() for account in ("zoe", "wash")}
            assert all(keys.values()), machine.read(LOG)
            yield Store(machine, keys)
            machine.run(["pkill", "--full", program])


@pytest.fixture(params=LAUNCHERS)
def followed(request: pytest.FixtureRequest, store: Store) -> Iterator[Followed]:
    """A mediator whose hook mounts a bucket; no mount and no daemon outlive the test."""
    machine = store.machine
    with followed_in(request.param, machine, cache_named("hub6").bin / "sudospawner") as followed:
        followed.set_policy(hooks=SECRETS)
        for account, keys in store.keys.items():
            machine.write(f"{FOLDER}/{account}", keys, mode=0o600)
        machine.run(["chmod", "0700", FOLDER])
        followed.mediator.add_hook("30-s3", (EXAMPLES / "mount").read_text())
        followed.mediator.put_server(SERVER)
        yield followed
        followed.await_quiet()
        wait_until(lambda: find_daemons(machine) == [], "the end of the daemons")
        assert find_mounts(machine) == []


def find_daemons(machine: Machine) -> list[str]:
    """The command lines of s3fs."""
    return machine.run(["pgrep", "--list-full", "s3fs"], check=False).stdout.splitlines()


def find_mounts(machine: Machine) -> list[str]:
    """The processes that see a bucket mounted."""
    grep = "grep --files-with-matches fuse.s3fs /proc/[0-9]*/mountinfo 2>/dev/null"
    return machine.run(grep, check=False).stdout.splitlines()


def spawn(followed: Followed, place: str = PLACE, **fields: Any) -> tuple[Answer, list[str]]:
    """Start a server: with its answer, the lines that it has written."""
    followed.machine.run(["rm", "-f", "/tmp/seen"])
    spawned = followed.mediator.spawn(place, **fields)
    assert spawned.reply["ok"], spawned
    wait_for_file(followed.mediator, "/tmp/seen")
    return spawned, followed.machine.read("/tmp/seen").splitlines()


def take_hook(spawned: Answer) -> tuple[str, str]:
    """The status and the output of the hook that mounts."""
    [hook] = [hook for hook in spawned.reply["hooks"] if hook["name"] == "30-s3"]
    return hook["status"], hook["output"]


def read_as(machine: Machine, user: str, spawned: Answer, path: str) -> str:
    """What another account gets of a file, in the mounts of a server, or why it gets nothing."""
    enter = ["nsenter", f"--target={spawned.reply['pid']}", "--mount", "--", "setpriv"]
    account = machine.look_up_account(user)
    become = [f"--reuid={account.uid}", f"--regid={account.gid}", "--init-groups", "--"]
    read = machine.run([*enter, *become, "cat", path], check=False)
    return read.stdout + read.stderr


def test_the_page_shows_the_hook_that_is_among_the_examples() -> None:
    hook = read_program("hooks.md", "/etc/sudospawner/roothooks.d/30-s3")
    assert hook == (EXAMPLES / "mount").read_text()


def test_a_server_reads_and_writes_its_users_bucket_and_nobody_else_does(
    followed: Followed,
) -> None:
    """What one server has written, the next one reads: it is in the bucket, and nowhere else."""
    machine = followed.machine
    spawned, seen = spawn(followed)
    assert take_hook(spawned) == ("ok", f"your bucket is in {PLACE}\n")
    assert seen[0] == "700 zoe zoe" and seen[-2:] == ["a line", "deep"]
    mounts = machine.read(f"/proc/{spawned.reply['pid']}/mounts").splitlines()
    [mount] = [line.split() for line in mounts if "s3fs" in line]
    assert mount[1] == PLACE and {"nosuid", "nodev"} <= set(mount[3].split(","))
    assert PLACE not in machine.read("/proc/1/mounts")
    assert read_as(machine, "zoe", spawned, f"{PLACE}/folder/file") == "deep\n"
    for other in ("wash", "mal", "rhea"):
        assert "Permission denied" in read_as(machine, other, spawned, f"{PLACE}/folder/file")
    followed.end(spawned)
    again, later = spawn(followed)
    assert later[1:3] == ["folder", "notes"]
    assert later.count("a line") == seen.count("a line") + 1
    followed.end(again)


def test_at_the_same_path_each_user_has_a_bucket_of_their_own(followed: Followed) -> None:
    hers, _ = spawn(followed)
    his, seen = spawn(followed, target="wash")
    assert take_hook(his)[0] == "ok" and seen[0] == "700 wash wash"
    enter = f"nsenter --target={his.reply['pid']} --mount -- touch {PLACE}/of-wash"
    followed.machine.run(enter)
    assert "No such file" in read_as(followed.machine, "zoe", hers, f"{PLACE}/of-wash")
    stop = {"action": "stop", "pid": his.reply["pid"], "interrupt_seconds": 0}
    assert followed.mediator.call(stop, target="wash").reply["alive"] is False
    followed.end(hers)


@pytest.mark.parametrize("whose", ["wrong", "another"])
def test_keys_that_the_bucket_refuses_are_a_failed_hook_in_words(
    followed: Followed, store: Store, whose: str
) -> None:
    """The server starts all the same, without a mount; the log has what the store says."""
    machine = followed.machine
    # The same name with another secret, or the keys of somebody else.
    name = store.keys["zoe"].partition(":")[0]
    keys = store.keys["wash"] if whose == "another" else f"{name}:{'x' * 40}\n"
    machine.write(f"{FOLDER}/zoe", keys, mode=0o600)
    begun = machine.run("date +@%s.%6N").stdout.strip()
    spawned, seen = spawn(followed)
    status, output = take_hook(spawned)
    assert status == "failed"
    assert output == "the bucket data-zoe cannot be read: journalctl --identifier=s3fs says why\n"
    assert seen[0] == "755 root root"
    wait_until(lambda: find_daemons(machine) == [], "the end of the daemon")
    assert find_mounts(machine) == []
    journal = ["journalctl", "--identifier=s3fs", "--output=cat", f"--since={begun}"]
    word = {"wrong": "signature", "another": "Access Denied"}[whose]
    wait_until(lambda: word in machine.run(journal).stdout, "what the store says")
    assert keys.strip().partition(":")[2] not in machine.run(journal).stdout
    followed.end(spawned)


def test_a_user_without_keys_is_told_so_and_has_a_server(followed: Followed) -> None:
    followed.machine.run(["rm", f"{FOLDER}/zoe"])
    spawned, _ = spawn(followed)
    assert take_hook(spawned) == ("ok", "zoe has no keys for a bucket\n")
    followed.end(spawned)


def test_servers_of_a_user_share_a_mount_that_goes_with_the_last(followed: Followed) -> None:
    machine = followed.machine
    followed.set_policy(hooks=f"{SECRETS}private_mounts = false\n")
    followed.mediator.add_hook("30-s3", (EXAMPLES / "mount-shared").read_text())
    followed.add_after("30-s3", (EXAMPLES / "unmount-shared").read_text())
    place = f"{PLACE}/zoe"
    first, seen = spawn(followed, place)
    assert take_hook(first) == ("ok", f"your bucket is in {place}\n")
    assert seen[0] == "700 zoe zoe" and seen[-1] == "deep"
    second, _ = spawn(followed, place, server_name="second")
    assert take_hook(second)[0] == "ok" and len(find_daemons(machine)) == 1
    followed.end(first)
    assert machine.run(["cat", f"{place}/folder/file"], user="zoe").stdout == "deep\n"
    assert machine.run(["cat", f"{place}/folder/file"], user="wash", check=False).returncode == 1
    stop = {"action": "stop", "pid": second.reply["pid"], "server_name": "second"}
    assert followed.mediator.call({**stop, "interrupt_seconds": 0}).reply["alive"] is False
    wait_until(lambda: find_daemons(machine) == [], "the end of the daemon")


def test_keys_that_are_refused_leave_no_mount_to_share(followed: Followed, store: Store) -> None:
    machine = followed.machine
    machine.write(f"{FOLDER}/zoe", store.keys["wash"], mode=0o600)
    followed.set_policy(hooks=f"{SECRETS}private_mounts = false\n")
    followed.mediator.add_hook("30-s3", (EXAMPLES / "mount-shared").read_text())
    followed.add_after("30-s3", (EXAMPLES / "unmount-shared").read_text())
    spawned, seen = spawn(followed, f"{PLACE}/zoe")
    assert take_hook(spawned)[0] == "failed" and seen[0] == "755 root root"
    wait_until(lambda: find_daemons(machine) == [], "the end of the daemon")
    assert find_mounts(machine) == []
    followed.end(spawned)
