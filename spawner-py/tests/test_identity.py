"""Whether a server lives is told from the kernel alone, and never by its pid alone."""

from __future__ import annotations

import os

import pytest

from sudospawner import identity
from sudospawner.identity import Liveness, ServerProcess


def name_process(pid):
    return f"{identity.read_boot_id()}:{identity.read_stat(pid).start_ticks}"


async def test_a_process_is_alive_until_it_ends(child):
    server = ServerProcess(child.pid, name_process(child.pid))
    assert server.look() is Liveness.ALIVE
    child.kill()
    await child.wait()
    assert server.look() is Liveness.GONE


def test_a_zombie_is_gone():
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    server = ServerProcess(pid, name_process(pid))
    assert server.look() is Liveness.ALIVE
    os.close(write_end)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert identity.read_stat(pid).state == "Z"
    assert server.look() is Liveness.GONE
    os.waitpid(pid, 0)
    os.close(read_end)


async def test_a_recycled_pid_is_another_process(child):
    boot_id, ticks = name_process(child.pid).split(":")
    assert ServerProcess(child.pid, f"{boot_id}:{int(ticks) - 1}").look() is Liveness.GONE


async def test_a_pid_of_an_earlier_boot_is_another_process(child):
    ticks = name_process(child.pid).split(":")[1]
    other_boot = "01234567-89ab-cdef-0123-456789abcdef"
    assert ServerProcess(child.pid, f"{other_boot}:{ticks}").look() is Liveness.GONE


async def test_a_pid_alone_is_adopted_if_it_is_the_accounts(child):
    server = ServerProcess(child.pid)
    assert server.adopt(os.getuid()) is Liveness.ALIVE
    assert server.started == name_process(child.pid)


async def test_a_pid_alone_is_not_adopted_if_it_is_another_accounts(child):
    server = ServerProcess(child.pid)
    assert server.adopt(os.getuid() + 1) is Liveness.GONE
    assert server.started == ""


@pytest.fixture
def hidden_proc(monkeypatch, tmp_path, child):
    """What an account sees of others' processes under hidepid=2: no folder, and EPERM."""
    real_boot_id = identity.read_boot_id()
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    monkeypatch.setattr(identity, "read_boot_id", lambda: real_boot_id)
    real_kill = os.kill

    def kill(pid, signal):
        real_kill(pid, signal)
        if signal == 0:
            raise PermissionError

    monkeypatch.setattr(os, "kill", kill)


async def test_a_hidden_process_is_held_by_a_descriptor(child, hidden_proc):
    server = ServerProcess(child.pid, "", vouched_for=True)
    assert server.look() is Liveness.ALIVE
    child.terminate()
    await child.wait()
    assert server.look() is Liveness.GONE


async def test_a_hidden_process_that_nobody_vouched_for_is_not_believed_in(child, hidden_proc):
    server = ServerProcess(child.pid)
    assert server.look() is Liveness.HIDDEN
    server.hold()
    server.vouch()
    assert server.look() is Liveness.ALIVE


async def test_where_the_kernel_has_no_pidfd_a_vouched_process_lives_while_its_pid_exists(
    child, hidden_proc, monkeypatch
):
    monkeypatch.delattr(os, "pidfd_open")
    server = ServerProcess(child.pid, vouched_for=True)
    assert server.look() is Liveness.ALIVE
    child.terminate()
    await child.wait()
    assert server.look() is Liveness.GONE


async def test_no_descriptor_is_spent_where_proc_shows_the_process(child):
    before = set(os.listdir("/proc/self/fd"))
    server = ServerProcess(child.pid, name_process(child.pid), vouched_for=True)
    assert server.look() is Liveness.ALIVE
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_command_with_parentheses_does_not_shift_the_fields(monkeypatch, tmp_path):
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    (tmp_path / "12").mkdir()
    fields = " ".join(str(number) for number in range(4, 52))
    (tmp_path / "12" / "stat").write_text(f"12 (a) R (b) S {fields}\n")
    assert identity.read_stat(12) == identity.Stat("S", 22)
