"""A server's files: its user's alone, in no log and no argument, and gone with the server.

Each mode writes them the same way: user mode, root mode, and servers in units. However a server or
what is beside it ends, nothing of the files stays, and where they cannot be written there is no
server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.files import (
    FILES,
    PLACE,
    PORT,
    SECRET,
    end,
    find_folder,
    find_secret,
    list_folders,
    start_with_files,
)
from system.homes import FileServer, wait_for_the_end
from system.mediator import Answer, Mediator, wait_until
from system.units import MODES, UnitMediator, mediator_in

DEBIANS = (13, 12)
REMOVER = "sudospawner-files"
OTHERS = ("wash", "mal", "rhea", "nobody")


@pytest.fixture(params=MODES)
def mediator(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Mediator]:
    """A mediator in each mode; no process and no file of a server's may outlive the test."""
    with mediator_in(request.param, machine, hub6.bin / "sudospawner") as mediator:
        yield mediator
        wait_for_the_end(mediator)
        assert list_folders(machine) == []
    machine.run(["rm", "-rf", "/home/zoe/.local"])


def find_pids(machine: Machine, name: str) -> list[str]:
    """Those of zoe's processes that go by this name."""
    return machine.run(["pgrep", "--uid", "zoe", "--full", f"^{name}"], check=False).stdout.split()


def kill(machine: Machine, *pids: str) -> None:
    """End processes at once."""
    machine.run(["kill", "-KILL", *pids])


def wait_until_gone(machine: Machine, folder: str) -> None:
    """Wait until a folder has been removed."""
    wait_until(lambda: folder not in list_folders(machine), f"the end of {folder}")


def test_the_files_of_a_server_are_its_users_alone_and_gone_with_it(mediator: Mediator) -> None:
    machine = mediator.machine
    spawned = start_with_files(mediator, "leave")
    assert spawned.reply["ok"], spawned
    folder = find_folder(machine, spawned)
    assert folder.startswith(f"{PLACE}/files-")
    look = ["find", folder, "-printf", "%U %m %y %f\n"]
    uid = machine.look_up_account("zoe").uid
    assert sorted(machine.run(look).stdout.splitlines()) == sorted(
        [
            f"{uid} 700 d {Path(folder).name}",
            f"{uid} 600 f server.crt",
            f"{uid} 600 f server.key",
        ]
    )
    for name, text in FILES.items():
        assert machine.run(["cat", f"{folder}/{name}"], user="zoe").stdout == text
    command = machine.read(f"/proc/{spawned.reply['pid']}/cmdline")
    assert f"--certfile={folder}/server.crt" in command.split("\0")
    for other in OTHERS:
        seen = machine.run(["cat", f"{folder}/server.key"], user=other, check=False, cwd="/")
        assert (seen.returncode, seen.stdout) == (1, ""), other
    assert find_secret(machine) == ""
    assert SECRET not in spawned.log
    # What removes the files is no process that the server has left.
    assert end(mediator, spawned)["leftovers_killed"] == 2
    assert list_folders(machine) == []


def test_two_servers_of_a_user_have_a_folder_each(mediator: Mediator) -> None:
    one = start_with_files(mediator)
    other = start_with_files(mediator, name="gpu", port=PORT + 1)
    folders = [find_folder(mediator.machine, each) for each in (one, other)]
    assert sorted(folders) == sorted(list_folders(mediator.machine))
    assert len(set(folders)) == 2
    end(mediator, one)
    assert list_folders(mediator.machine) == folders[1:]
    end(mediator, other)


def test_the_files_are_gone_however_the_server_ends(mediator: Mediator) -> None:
    machine = mediator.machine
    spawned = start_with_files(mediator)
    folder = find_folder(machine, spawned)
    # Every process of the server's gets the signal, and it has work to do then.
    machine.run(["kill", "-TERM", *find_pids(machine, REMOVER)])
    kill(machine, str(spawned.reply["pid"]))
    wait_until_gone(machine, folder)
    wait_for_the_end(mediator)
    end(mediator, spawned)
    failed = mediator.spawn("exit", "3", files=FILES, wait={"port": PORT, "seconds": 60})
    assert failed.reply["code"] == "exited_early"
    assert list_folders(machine) == []


def test_what_is_killed_with_its_server_leaves_files_that_the_next_start_removes(
    mediator: Mediator,
) -> None:
    machine = mediator.machine
    other = start_with_files(mediator, name="gpu", port=PORT + 1)
    of_other = find_pids(machine, REMOVER)
    spawned = start_with_files(mediator)
    folder = find_folder(machine, spawned)
    removers = [pid for pid in find_pids(machine, REMOVER) if pid not in of_other]
    kill(machine, *removers, str(spawned.reply["pid"]))
    end(mediator, spawned)
    assert folder in list_folders(machine)
    again = start_with_files(mediator)
    kept = {find_folder(machine, other), find_folder(machine, again)}
    assert set(list_folders(machine)) == kept
    end(mediator, again)
    end(mediator, other)


@pytest.mark.parametrize("mediator", ["user", "root"], indirect=True)
def test_without_its_supervisor_a_server_has_its_files_and_they_are_gone_with_it(
    mediator: Mediator,
) -> None:
    machine = mediator.machine
    spawned = start_with_files(mediator)
    kill(machine, *find_pids(machine, "sudospawner-supervisor"))
    assert list_folders(machine) == [find_folder(machine, spawned)]
    assert end(mediator, spawned)["leftovers_killed"] == 0
    wait_until(lambda: list_folders(machine) == [], "the end of the files")


def refuse(mediator: Mediator) -> str:
    """Why there is no server with files; the key is in no sentence."""
    answer = start_with_files(mediator)
    assert (answer.reply["code"], answer.status) == ("files_not_written", 0), answer
    assert SECRET not in answer.log + str(answer.reply)
    wait_for_the_end(mediator)
    return str(answer.reply["error"])


def start_without(mediator: Mediator) -> Answer:
    """A server that has no files, which the state of its home keeps from nothing."""
    return mediator.spawn("listen", str(PORT), wait={"port": PORT, "seconds": 60})


@pytest.fixture
def small_home(mediator: Mediator) -> Iterator[Machine]:
    """A home of zoe's that is a disk of 64 KiB."""
    machine = mediator.machine
    options = "size=64k,mode=0700,uid=zoe,gid=zoe"
    machine.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", "/home/zoe"])
    yield machine
    machine.run(["umount", "--lazy", "/home/zoe"])


def test_on_a_full_disk_there_is_no_server_with_half_a_key(
    mediator: Mediator, small_home: Machine
) -> None:
    small_home.run(["dd", "if=/dev/zero", "of=/home/zoe/full"], user="zoe", check=False)
    sentence = refuse(mediator)
    assert f"below {PLACE}: ENOSPC" in sentence
    assert "make room there" in sentence
    assert list_folders(small_home) == []
    small_home.run(["rm", "/home/zoe/full"])
    end(mediator, start_with_files(mediator))


def test_in_a_home_that_is_read_only_there_is_no_server_with_files(
    mediator: Mediator, small_home: Machine
) -> None:
    small_home.run(["mount", "-o", "remount,ro", "/home/zoe"])
    assert f"below {PLACE}: EROFS" in refuse(mediator)
    spawned = start_without(mediator)
    assert spawned.reply["ok"]
    spawned.reply["name"] = ""
    end(mediator, spawned)


def test_files_are_not_written_where_others_could_replace_them(mediator: Mediator) -> None:
    machine = mediator.machine
    machine.run(["install", "-d", "-o", "zoe", "-m", "0777", PLACE])
    assert "chmod go-w" in refuse(mediator)
    machine.run(f"rmdir {PLACE}; install -d -o mal {PLACE}")
    assert "others could replace them" in refuse(mediator)
    machine.run(f"rmdir {PLACE}; install -d -o zoe -m 0700 /srv/zoe; ln -s /srv/zoe {PLACE}")
    assert "a link is not followed" in refuse(mediator)
    assert machine.run(["ls", "-A", "/srv/zoe"]).stdout == ""
    machine.run(["rm", "-r", "/srv/zoe", PLACE])


def test_an_umask_without_rights_does_not_keep_a_server_from_its_files(
    mediator: Mediator,
) -> None:
    mediator.machine.write("/etc/sudospawner/policy.toml", UMASK[type(mediator).__name__])
    spawned = start_with_files(mediator)
    assert spawned.reply["ok"], spawned
    end(mediator, spawned)


TARGETS = 'hub_users = ["rhea"]\n[targets]\ngroups = ["jupyterhub"]\n[server]\numask = "0777"\n'
UMASK = {
    "Mediator": TARGETS,
    "RootMediator": TARGETS,
    "UnitMediator": TARGETS + 'launcher = "systemd"\n',
}


@pytest.mark.parametrize("mediator", ["user", "unit"], indirect=True)
def test_files_wait_for_a_home_that_hangs_no_longer_than_a_server_does(mediator: Mediator) -> None:
    home = FileServer(mediator.machine)
    try:
        home.stop()
        answer = start_with_files(mediator, wait={"port": PORT, "seconds": 5})
        assert answer.reply["code"] == "home_unresponsive", answer
        assert SECRET not in answer.log
        home.resume()
        wait_for_the_end(mediator)
        assert list_folders(mediator.machine) == []
    finally:
        home.resume()
        mediator.kill_processes()
        home.unmount()


def test_files_are_in_the_runtime_directory_where_it_stays_as_long_as_the_server(
    mediator: Mediator,
) -> None:
    machine = mediator.machine
    uid = machine.look_up_account("zoe").uid
    runtime = f"/run/user/{uid}"
    machine.run(["install", "-d", "-o", "zoe", "-g", "zoe", "-m", "0700", runtime])
    try:
        # A session of zoe's, and then none: logind would remove the directory while a server runs.
        for words, place in (
            (["systemd-run", "--quiet", "--scope", f"--slice=user-{uid}.slice"], runtime),
            ([], f"{PLACE}"),
        ):
            if isinstance(mediator, UnitMediator) and words:
                continue
            spawned = spawn_within(mediator, words)
            folder = find_folder(machine, spawned)
            end(mediator, spawned)
            assert folder.startswith(f"{place}/")
            assert list_folders(machine) == []
    finally:
        machine.run(["rm", "-rf", runtime])


def spawn_within(mediator: Mediator, words: list[str]) -> Answer:
    """Start a server with files, where these words begin the command that the Hub calls."""
    if not words:
        return start_with_files(mediator)
    become = ["setpriv", "--reuid=rhea", "--regid=rhea", "--init-groups"]
    plain, caller = mediator.list_words, mediator.caller
    mediator.list_words = lambda target: [*words, *become, *plain(target)]  # type: ignore[method-assign]
    mediator.caller = "root"
    try:
        return start_with_files(mediator)
    finally:
        mediator.list_words, mediator.caller = plain, caller  # type: ignore[method-assign]
