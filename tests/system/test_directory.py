"""Accounts of an LDAP directory, through sssd, also while the directory is slow or down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from machine.catalogue import cache_named
from machine.hub import Hub, HubError
from machine.installation import SUDOERS_PLACE
from machine.machine import Machine
from system.conftest import install_what_is_tested
from system.directory import (
    COURSES,
    DIGITS,
    DOTTED,
    ENTRIES,
    GROUP,
    GROUPS,
    MEMBERS,
    QUALIFIED,
    Directory,
    Entry,
)
from system.mediator import Answer, Mediator, RootMediator, wait_for_file, wait_until
from system.units import MODES, mediator_in

# sudoers(5) wants quotes for a name with a blank or an @.
RUN_AS = ", ".join(f'"%{group}"' for group in GROUPS)
TARGETS = f"[targets]\ngroups = {json.dumps(GROUPS)}\n"
BINARY = cache_named("hub6").bin / "sudospawner"
# A request returns at once, so that more can happen while a server starts.
AT_ONCE = 'c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}\n'


@pytest.fixture(scope="module")
def directory(debian: int) -> Iterator[Directory]:
    """A machine of this file's own, with a directory and our programs."""
    with Machine(release=debian) as machine:
        install_what_is_tested(machine, cache_named("hub6"))
        directory = Directory(machine)
        directory.install()
        yield directory


@contextmanager
def mediator_for(mode: str, directory: Directory) -> Iterator[Mediator]:
    """A mediator in this mode, for the members of the directory's groups."""
    with mediator_in(mode, directory.machine, BINARY) as mediator:
        if isinstance(mediator, RootMediator):
            mediator.set_policy(TARGETS)
        else:
            mediator.permit(RUN_AS)
        try:
            yield mediator
        finally:
            for entry in ENTRIES:
                mediator.kill_processes(str(entry.uid))


@pytest.fixture(params=MODES)
def mediator(request: pytest.FixtureRequest, directory: Directory) -> Iterator[Mediator]:
    """Such a mediator in each mode."""
    with mediator_for(request.param, directory) as mediator:
        yield mediator


def spawn(mediator: Mediator, entry: Entry, *args: str) -> dict[str, Any]:
    """Spawn a server of an account; the fields that name it in other requests."""
    reply = mediator.spawn(*args, target=entry.name).reply
    assert reply["ok"], reply
    return {name: reply[name] for name in ("pid", "started", "unit") if name in reply}


def ask(mediator: Mediator, entry: Entry, action: str, **fields: Any) -> Answer:
    """Send another request about it."""
    return mediator.call({"action": action, **fields}, target=entry.name)


def stop(mediator: Mediator, entry: Entry, which: dict[str, Any]) -> None:
    """Stop it, and with it everything of the account."""
    reply = ask(mediator, entry, "stop", interrupt_seconds=0, **which).reply
    assert reply["alive"] is False, reply
    wait_until(lambda: mediator.list_processes(str(entry.uid)) == [], "the end of its processes")


def test_the_directory_is_as_large_as_these_tests_need_it(directory: Directory) -> None:
    [line] = directory.machine.run(["getent", "group", GROUP]).stdout.splitlines()
    assert len(line.split(":")[3].split(",")) == MEMBERS
    # The courses, the account's own group and the one for servers.
    assert len(directory.list_groups(DIGITS)) == COURSES + 2


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_an_account_of_the_directory_has_a_server(
    mediator: Mediator, directory: Directory, entry: Entry
) -> None:
    file = f"{entry.home}/seen.json"
    which = spawn(mediator, entry, "report", file)
    wait_for_file(mediator, file)
    seen = json.loads(mediator.machine.read(file))
    mediator.machine.run(["rm", file])
    status = ask(mediator, entry, "status", **which).reply
    killed = ask(mediator, entry, "kill", signal=15, **which).reply
    assert (seen["uids"], seen["gids"]) == ([entry.uid] * 3, [entry.uid] * 3)
    assert seen["groups"] == directory.list_groups(entry)
    assert seen["cwd"] == entry.home
    assert (status["alive"], status["uid"]) == (True, entry.uid)
    assert killed == {"ok": True, "alive": True}
    wait_until(lambda: mediator.list_processes(str(entry.uid)) == [], "the end of the server")
    assert ask(mediator, entry, "status", **which).reply["alive"] is False


@pytest.mark.parametrize("group", GROUPS)
def test_the_printed_rule_for_a_group_of_the_directory_permits_its_members(
    directory: Directory, group: str
) -> None:
    with mediator_for("user", directory) as mediator:
        mediator.permit_as_printed("--hub-user=rhea", f"--group={group}")
        answers = [ask(mediator, entry, "kill", pid=999999, signal=0) for entry in ENTRIES]
    members = (QUALIFIED,) if "@" in group else (DOTTED, DIGITS)
    for entry, answer in zip(ENTRIES, answers, strict=True):
        assert (answer.status == 0) == (entry in members), answer


def check(mediator: Mediator, mode: str, viewer: str, *entries: Entry) -> dict[str, Any]:
    """The report of a check of these accounts."""
    users = [f"--user={entry.name}" for entry in entries]
    words = [mediator.path, "check", "--json", f"--mode={mode}", "--hub-user=rhea", "--pam=no"]
    run = mediator.machine.run([*words, *users], user=viewer, check=False)
    return json.loads(run.stdout)


@pytest.mark.parametrize("viewer", ["root", "rhea"])
@pytest.mark.parametrize("mode", MODES)
def test_the_check_has_no_complaint_about_accounts_of_the_directory(
    directory: Directory, mode: str, viewer: str
) -> None:
    with mediator_for(mode, directory) as mediator:
        report = check(mediator, mode.replace("unit", "root"), viewer, *ENTRIES)
    assert report["ok"], [one for one in report["findings"] if one["level"] == "problem"]
    said = [(one["code"], one["sentence"]) for one in report["findings"] if one["level"] == "ok"]
    for entry in ENTRIES:
        [sentence] = [text for code, text in said if code == "target" and entry.name in text]
        assert f"{entry.name} has uid {entry.uid} and is in " in sentence
        assert GROUP in sentence
        assert ("call", f"a real call as rhea for {entry.name} was answered") in said


@pytest.mark.parametrize("mode", ["user", "root"])
def test_the_check_takes_an_account_of_the_directory_into_a_group_of_the_machine(
    directory: Directory, mode: str
) -> None:
    machine = directory.machine
    with mediator_for(mode, directory) as mediator:
        if isinstance(mediator, RootMediator):
            mediator.set_policy()
        else:
            mediator.permit()
        findings = check(mediator, mode, "root", DOTTED)["findings"]
        [remedy] = [one["remedy"] for one in findings if one["level"] == "problem"]
        machine.run(["sh", "-c", remedy])
        report = check(mediator, mode, "root", DOTTED)
        machine.run(["gpasswd", "--delete", DOTTED.name, "jupyterhub"])
    assert report["ok"], report


def test_the_check_makes_no_account_because_the_directory_does_not_answer(
    directory: Directory,
) -> None:
    with mediator_for("root", directory) as mediator:
        with directory.down():
            findings = check(mediator, "root", "root", DOTTED)["findings"]
        said = [
            one for one in findings if "sss (/etc/nsswitch.conf) does not answer" in one["sentence"]
        ]
        assert [(one["code"], one["level"]) for one in said] == [
            ("targets_group", "problem"),
            ("targets_group", "problem"),
            ("target_unknown", "problem"),
        ]
        for finding in said:
            # Not useradd and groupadd: these show whether the directory answers again.
            shown = mediator.machine.run(["sh", "-c", finding["remedy"]]).stdout
            assert "jane.doe" in shown or "jdoe" in shown


# What the check looks at without asking for anybody's groups.
OTHER_AREAS = ("binary", "policy", "hooks", "unit", "limits", "selinux")


def test_the_check_goes_on_where_the_directory_never_answers_and_says_how_it_does_again(
    directory: Directory,
) -> None:
    zoe = Entry("zoe", directory.machine.look_up_account("zoe").uid)
    with mediator_for("root", directory) as mediator, ExitStack() as stack:
        before = check(mediator, "root", "root", zoe)["findings"]
        stack.enter_context(directory.frozen())
        after = check(mediator, "root", "root", zoe, DOTTED)["findings"]
        silences = [one for one in after if one["code"] == "unanswered"]
        # Even the groups of local accounts are asked for there.
        for finding, whose in zip(silences, ("rhea", "zoe", DOTTED.name), strict=True):
            assert finding["level"] == "problem"
            assert whose in finding["sentence"]
            assert "did not answer within" in finding["sentence"]
            assert "it asks sss (/etc/nsswitch.conf)" in finding["sentence"]
        others, others_before = (
            [one for one in findings if one["area"] in OTHER_AREAS] for findings in (after, before)
        )
        assert others == others_before
        directory.machine.run(["sh", "-c", silences[0]["remedy"]])
        wait_until(lambda: directory.knows(DOTTED.name), "the directory's answer")


def test_a_directory_that_is_down_is_named_and_no_server_is_taken_for_dead(
    mediator: Mediator, directory: Directory
) -> None:
    which = spawn(mediator, DOTTED)
    with directory.down():
        answers = [ask(mediator, DOTTED, "status", **which), mediator.spawn(target=DOTTED.name)]
    after = ask(mediator, DOTTED, "status", **which).reply
    stop(mediator, DOTTED, which)
    assert after["alive"] is True
    for answer in answers:
        assert answer.status == 1
        if type(mediator) is Mediator:
            # sudo does not become an account that it does not know.
            assert (answer.reply, "unknown user" in answer.log) == ({}, True)
        else:
            assert answer.reply["code"] == "target_unknown"
            assert "account database" in answer.reply["error"]


def test_groups_that_a_directory_does_not_answer_for_are_said_to_be_its_word(
    directory: Directory,
) -> None:
    """Programs know accounts from the memory that sssd shares, even if it is not there."""
    with mediator_for("root", directory) as mediator, directory.silent():
        refused = ask(mediator, DOTTED, "status", pid=999999).reply
    assert refused["code"] == "target_not_permitted"
    assert "as the account database answers" in refused["error"]


def test_a_directory_that_is_slow_delays_calls_and_fails_none(directory: Directory) -> None:
    with (
        mediator_for("user", directory) as in_user_mode,
        mediator_for("root", directory) as in_root_mode,
        ThreadPoolExecutor() as side_by_side,
    ):
        which = spawn(in_root_mode, DOTTED)
        with directory.slow():
            calls = [
                side_by_side.submit(ask, in_root_mode, DOTTED, "status", **which),
                side_by_side.submit(ask, in_user_mode, DOTTED, "status", **which),
                side_by_side.submit(in_root_mode.spawn, target=DIGITS.name),
            ]
            *statuses, spawned = [call.result().reply for call in calls]
        stop(in_root_mode, DOTTED, which)
        stop(in_root_mode, DIGITS, {"pid": spawned["pid"]})
    assert [status["alive"] for status in statuses] == [True, True]


def test_a_call_that_was_given_up_while_it_waited_for_the_directory_starts_nothing(
    mediator: Mediator, directory: Directory
) -> None:
    directory.begin_afresh(QUALIFIED)
    with directory.held_up():
        request = {"action": "spawn", "args": [], "env": {}}
        process = mediator.start(request, target=DOTTED.name)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
    process.stderr.read()
    process.wait()
    wait_until(lambda: mediator.list_processes(str(DOTTED.uid)) == [], "the end of everything")


def test_no_process_of_roots_waits_without_end_for_a_directory_that_does_not_answer(
    directory: Directory,
) -> None:
    with mediator_for("root", directory) as mediator:
        directory.begin_afresh(QUALIFIED)
        # sudo asks for the groups of rhea and root, which the directory might have, too.
        mediator.machine.run(["sudo", "-n", mediator.path, "--version"], user="rhea")
        with directory.held_up():
            refused = ask(mediator, DOTTED, "status", pid=999999)
            left = [line for line in mediator.list_processes("root") if "--user=" in line]
    assert (refused.reply["code"], refused.status) == ("account_timeout", 0)
    assert left == []


@pytest.fixture(scope="module")
def directory_hub(directory: Directory) -> Iterator[Hub]:
    """A Hub in user mode for zoe and wash, and for the members of the directory's groups."""
    machine = directory.machine
    rule = f"rhea ALL=(%jupyterhub, {RUN_AS}) NOPASSWD: {BINARY}\n"
    machine.write(SUDOERS_PLACE, rule, mode=0o440)
    with Hub(machine, cache_named("hub6"), configuration=AT_ONCE, port=8070) as hub:
        for entry in ENTRIES:
            hub.request("POST", f"/hub/api/users/{entry.name}")
        yield hub


def test_a_start_that_waits_for_the_directory_delays_nobody_else(
    directory_hub: Hub, directory: Directory
) -> None:
    hub, machine = directory_hub, directory.machine
    directory.begin_afresh(DIGITS, QUALIFIED)
    # sudo asks for the groups of rhea and zoe, which the directory might have, too.
    machine.run(["sudo", "-nH", "-u", "zoe", BINARY, "--help"], user="rhea")
    with directory.held_up():
        hub.request("POST", f"/hub/api/users/{DOTTED.name}/server")
        hub.start_server("zoe")
        hub.stop_server("zoe")
        pending = (hub.find_server(DOTTED.name) or {})["pending"]
    *_, last = hub.follow_progress(DOTTED.name)
    hub.stop_server(DOTTED.name)
    assert pending == "spawn"
    assert last.get("ready"), last


def test_many_starts_that_wait_for_the_directory_take_few_threads_of_the_hub(
    directory_hub: Hub, directory: Directory
) -> None:
    hub, machine = directory_hub, directory.machine

    def count_threads() -> int:
        return len(machine.run(["ls", f"/proc/{hub.pid}/task"]).stdout.split())

    directory.begin_afresh(DIGITS, QUALIFIED)
    machine.run(["sudo", "-nH", "-u", "zoe", BINARY, "--help"], user="rhea")
    names = [f"server-{number}" for number in range(12)]
    before = count_threads()
    with directory.held_up():
        for name in names:
            hub.request("POST", f"/hub/api/users/{DOTTED.name}/servers/{name}")
        pending = [(hub.find_server(DOTTED.name, name) or {})["pending"] for name in names]
        taken = count_threads() - before
        hub.start_server("zoe")
        hub.stop_server("zoe")
        for name in names:
            hub.stop_server(DOTTED.name, name)
    assert pending == ["spawn"] * 12
    # Four look-ups of one account; the others are the Hub's own.
    assert taken <= 6


def test_a_hub_keeps_its_servers_while_the_directory_is_down(
    directory_hub: Hub, directory: Directory
) -> None:
    hub = directory_hub
    hub.start_server(DIGITS.name)
    pid = hub.find_pid(DIGITS.name)
    with directory.down():
        hub.restart()
        with pytest.raises(HubError) as refusal:
            hub.start_server(DOTTED.name)
        kept = hub.find_pid(DIGITS.name)
    hub.stop_server(DIGITS.name)
    assert kept == pid
    assert "The account database" in refusal.value.message


def test_a_start_for_which_the_directory_does_not_answer_in_time_says_so(
    directory_hub: Hub, directory: Directory
) -> None:
    hub = directory_hub
    hub.configure(f"{AT_ONCE}c.Spawner.start_timeout = 20\n")
    hub.restart()
    directory.begin_afresh(QUALIFIED)
    with directory.held_up():
        hub.request("POST", f"/hub/api/users/{DOTTED.name}/server")
        *_, last = hub.follow_progress(DOTTED.name)
    assert last.get("failed"), last
    assert "The account database of this machine did not answer" in last["message"]
