"""A caller that lets root open next to no files: root overlooks nothing, and writes its line.

Modules of the account database keep files open, as that of sssd does. A look-up for which there is
no room left says that there is nothing: no date of expiry, no account of the Hub's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from machine.catalogue import cache_named
from machine.installation import SUDOERS_PLACE
from machine.machine import Machine
from system.conftest import install_what_is_tested
from system.directory import Directory
from system.jsd import Helper
from system.mediator import RootMediator
from system.sudo_rs import sudo_rs_in

BIN = cache_named("hub6").bin
# The group is the directory's, so that its module opens what it has.
POLICY = '[targets]\nmin_uid = 1\nusers = ["io", "rhea", "zoe"]\ndeny_groups = ["course-1"]\n'
WHY = {"io": "it has expired", "rhea": "it is one of hub_users"}
TOO_FEW = "too few files may be open"
# From where not even sudo starts, to where there is room for everything.
FILES = range(4, 16)
LIMITS = ("-S -n", "-n")


@pytest.fixture(scope="module")
def starved() -> Iterator[Machine]:
    """A machine with a directory, our programs, and io, whose account has expired."""
    with Machine() as machine:
        install_what_is_tested(machine, cache_named("hub6"))
        Directory(machine).install()
        machine.run("useradd --create-home --groups jupyterhub --expiredate 2020-01-01 io")
        machine.write(SUDOERS_PLACE, "", mode=0o440)
        yield machine


def limit_files(kind: str, files: int, words: list[str]) -> list[str]:
    """The command with so many open files at most, as the soft limit or as both."""
    return ["sh", "-c", f'ulimit {kind} {files} && exec "$@"', "sh", *words]


def read_log(machine: Machine, program: str) -> list[str]:
    """Root's lines in the authentication log."""
    machine.run(["journalctl", "--sync"])
    query = ["journalctl", f"SYSLOG_IDENTIFIER={program}", "_UID=0", "--output=cat"]
    return machine.run(query).stdout.splitlines()


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("target", WHY)
def test_who_may_have_no_server_has_none_however_few_files_root_may_open(
    starved: Machine, target: str, kind: str
) -> None:
    mediator = RootMediator.install(starved, "/opt/starved/bin", BIN / "sudospawner")
    mediator.set_policy(POLICY)
    spawn = json.dumps({"action": "spawn", "args": ["exit", "0"], "env": {}})
    replies, unlogged = [], []
    # sudo opens more files than this itself.
    with sudo_rs_in(starved, "crate"):
        for files in FILES:
            words = limit_files(kind, files, [str(word) for word in mediator.list_words(target)])
            run = starved.run(words, user="rhea", input=spawn, check=False)
            if run.stdout:
                replies.append(json.loads(run.stdout))
                unlogged += [run.stderr] if "not in syslog" in run.stderr else []
    mediator.remove_all()
    reasons = [reply["error"] for reply in replies]
    assert len(reasons) > len(FILES) / 2
    assert [one for one in reasons if WHY[target] not in one and TOO_FEW not in one] == []
    assert unlogged == []
    assert WHY[target] in reasons[-1] or kind == "-n"


@pytest.mark.parametrize("kind", LIMITS)
def test_jsd_helper_overlooks_no_date_of_expiry(starved: Machine, kind: str) -> None:
    helper = Helper(starved, BIN / "jsd-helper")
    helper.set_policy(POLICY)
    account = starved.look_up_account("io")
    ids = {"uid": str(account.uid), "gid": str(account.gid), "directory": account.home}
    words = [helper.path, *helper.list_words(args=["exit", "0"], **ids)]
    before = len(read_log(starved, "jsd-helper"))
    ends = [
        starved.run(limit_files(kind, files, words), user="rhea", check=False) for files in FILES
    ]
    helper.remove_all()
    assert {run.returncode for run in ends} <= {99}
    said = [run.stderr for run in ends]
    assert [one for one in said if WHY["io"] not in one and TOO_FEW not in one] == []
    assert len(read_log(starved, "jsd-helper")) == before + len(FILES)
