"""Accounts that root's program makes at the first start of their servers (`[accounts] create`).

No account is made of a name that could be taken for another, by a program that others could have
written, or more often than the policy says; and what was made is decided on as any account is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.first_use import NOTE, PLACES, PROGRAM, RAN, FirstUse
from system.mediator import Answer, Mediator, RootMediator, wait_for_file
from system.test_names import SWITCH
from system.units import mediator_in

MAKES = f'{NOTE}useradd --create-home --groups jupyterhub "$SUDOSPAWNER_USER"\n'
NAMES = 'names = "[A-Za-z0-9._-]+"'


@pytest.fixture
def first_use(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[FirstUse]:
    """A mediator in root mode that has accounts made; those are gone after the test."""
    mode = getattr(request, "param", "root")
    with mediator_in(mode, machine, hub6.bin / "sudospawner") as mediator:
        assert isinstance(mediator, RootMediator)
        with FirstUse(mediator).kept() as first_use:
            yield first_use


def expect(answer: Answer, code: str, part: str) -> None:
    """Expect a refusal with this code, whose sentence has this part."""
    assert answer.reply.get("code") == code, answer
    assert part in answer.reply["error"], answer


@pytest.mark.parametrize("first_use", ["root", "unit"], indirect=True)
def test_an_account_that_did_not_exist_has_a_server_after_the_example_has_made_it(
    first_use: FirstUse,
) -> None:
    machine, file = first_use.machine, "/home/simon/seen.json"
    spawned = first_use.spawn("simon", "report", file)
    assert spawned.reply["ok"], spawned
    wait_for_file(first_use.mediator, file)
    seen = json.loads(machine.read(file))
    simon = machine.look_up_account("simon")
    assert seen["uids"] == [simon.uid] * 3
    assert seen["env"] == {
        "HOME": "/home/simon",
        "USER": "simon",
        "LOGNAME": "simon",
        "SHELL": "/bin/bash",
    }
    home = machine.run(["stat", "--format=%a %U %G", "/home/simon"]).stdout
    assert home == "700 simon simon\n"
    assert "jupyterhub" in machine.run(["id", "-Gn", "simon"]).stdout.split()
    first_use.stop("simon", spawned)
    # From now on it is an account like others.
    first_use.put_program("#!/bin/sh\nexit 1\n")
    again = first_use.spawn("simon")
    assert again.reply["ok"], again
    first_use.stop("simon", again)
    made, *more = first_use.list_records("action=create")[-1:]
    assert more == []
    uid = machine.look_up_account("rhea").uid
    assert f"caller=rhea({uid}) target=simon action=create code=ok" in made


def test_a_quota_that_cannot_be_set_leaves_no_account(first_use: FirstUse) -> None:
    machine = first_use.machine
    # As on a file system with quotas.
    findmnt = "#!/bin/sh\ncase $* in *OPTIONS*) echo rw,usrquota ;; *) echo / ;; esac\n"
    machine.write("/usr/local/sbin/findmnt", findmnt, mode=0o755)
    machine.write("/usr/local/sbin/setquota", '#!/bin/sh\necho "no $*"; exit 1\n', mode=0o755)
    answer = first_use.spawn("simon")
    machine.write("/usr/local/sbin/setquota", f"#!/bin/sh\necho $* >{RAN}\n", mode=0o755)
    spawned = first_use.spawn("simon")
    machine.run("rm /usr/local/sbin/findmnt /usr/local/sbin/setquota")
    expect(answer, "account_not_created", "no --user simon 9G 10G 0 0 /")
    assert spawned.reply["ok"], spawned
    assert first_use.list_runs() == ["--user simon 9G 10G 0 0 /"]
    first_use.stop("simon", spawned)


def test_the_program_is_root_with_the_name_and_nothing_of_the_callers(first_use: FirstUse) -> None:
    look = "id -u; umask; pwd; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l; env | sort"
    first_use.put_program(f"#!/bin/sh\n{{ {look}; }} >{RAN}\n")
    request = {"action": "spawn", "args": [], "env": {"SECRET": "x"}}
    first_use.mediator.call(request, target="simon", options=["--action=spawn"])
    assert first_use.list_runs() == [
        *("0", "0022", "/", "/dev/null", "4"),
        "HOME=/root",
        "LANG=C.UTF-8",
        "NB_USER=simon",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/",
        "SUDOSPAWNER_USER=simon",
    ]


HOSTILE = ["Simon", "-r", "--root=x", "", ".", "..", "0", "#0", "+x", "a b", "a/b", "a:b", "a,b"]
HOSTILE += ["simon\n", "simon\x1b[2J", "sïmon", "a" * 33, "a" * 70_000, "$(id)", "simon "]


def test_no_account_is_made_of_a_name_that_the_pattern_does_not_match(first_use: FirstUse) -> None:
    first_use.put_program(MAKES)
    before = len(first_use.list_records("action=create"))
    for name in HOSTILE:
        expect(first_use.spawn(name), "target_unknown", "accounts.names does not match it")
    assert (first_use.list_runs(), first_use.list_new()) == ([], [])
    records = first_use.list_records("action=create")[before:]
    assert len(records) == len(HOSTILE)
    assert max(map(len, records)) < 500


def test_no_pattern_lets_an_option_or_a_folder_be_a_name(first_use: FirstUse) -> None:
    first_use.put_program(NOTE)
    first_use.set_policy(NAMES)
    for name in (".", "..", "-r", "--root"):
        expect(first_use.spawn(name), "target_unknown", "accounts.names does not match it")
    first_use.spawn("_x-.")
    assert first_use.list_runs() == ["_x-."]


@pytest.mark.parametrize("names", [["Zoe", "ZOE"], ["kaylee", "KAYLEE"]], ids=["nss", "file"])
def test_no_account_is_made_whose_name_differs_by_case_alone(
    first_use: FirstUse, names: list[str]
) -> None:
    first_use.machine.run("useradd --badname Kaylee || useradd --badnames Kaylee")
    first_use.put_program(MAKES)
    first_use.set_policy(NAMES)
    for name in names:
        expect(first_use.spawn(name), "target_unknown", "differs from it by case alone")
    assert first_use.list_runs() == []


def test_no_account_is_made_of_a_groups_name_or_of_one_in_hub_users(first_use: FirstUse) -> None:
    first_use.put_program(MAKES)
    expect(first_use.spawn("disk"), "target_unknown", "a group has this name")
    policy = first_use.machine.read(RootMediator.POLICY)
    first_use.machine.write(RootMediator.POLICY, policy.replace('"rhea"', '"rhea", "Inara"'))
    expect(first_use.spawn("inara"), "target_unknown", "it is one of hub_users")
    assert first_use.list_runs() == []


def test_no_program_runs_for_an_account_that_is_there(first_use: FirstUse) -> None:
    first_use.put_program(NOTE)
    for name, code in [
        ("root", "target_is_root"),
        ("rhea", "target_not_permitted"),
        ("mal", "target_not_permitted"),
        ("nobody", "target_not_permitted"),
    ]:
        assert first_use.spawn(name).reply["code"] == code
    assert first_use.list_runs() == []
    assert first_use.list_records("target=mal") == []


@pytest.mark.parametrize("action", ["kill", "stop", "status", "spawn", "unsaid"])
def test_only_a_spawn_that_says_so_on_its_command_line_makes_an_account(
    first_use: FirstUse, action: str
) -> None:
    first_use.put_program(MAKES)
    request = {"action": action, "pid": 1, "signal": 0}
    options = [f"--action={action}"]
    if action == "kill":
        options = ["--action=kill"]
    elif action in ("spawn", "unsaid"):
        request, options = {"action": "spawn", "args": [], "env": {}}, []
    else:
        del request["signal"]
    answer = first_use.mediator.call(request, target="simon", options=options)
    expect(answer, "target_unknown", "check it with `id`")
    assert (first_use.list_runs(), first_use.list_new()) == ([], [])


def test_in_user_mode_none_is_made(first_use: FirstUse, hub6: Cache) -> None:
    first_use.put_program(MAKES)
    mediator = Mediator(first_use.machine, "/opt/user-mode/bin")
    mediator.install_binary(hub6.bin / "sudospawner")
    mediator.put_server()
    mediator.permit()
    spawn = {"action": "spawn", "args": [], "env": {}}
    unknown = mediator.call(spawn, target="simon", options=["--action=spawn"])
    mismatch = mediator.call(spawn, options=["--action=spawn", "--user=simon"])
    mediator.forbid()
    assert (unknown.reply, mismatch.reply["code"]) == ({}, "target_mismatch")
    assert (first_use.list_runs(), first_use.list_new()) == ([], [])


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (f"chmod o+w {PROGRAM}", "can be written by group or others"),
        (f"chmod g+w {PROGRAM}", "can be written by group or others"),
        (f"chown zoe {PROGRAM}", "has to belong to root"),
        (
            "mkdir -m 0777 /srv/open; mv -t /srv/open /etc/sudospawner/create-account",
            "/srv/open can",
        ),
        (f"mv {PROGRAM} {PROGRAM}.1; ln -s {PROGRAM}.1 {PROGRAM}", "is a symbolic link"),
        (f"rm {PROGRAM}", "does not exist"),
        (f"rm {PROGRAM}; mkfifo {PROGRAM}", "is not a regular file"),
        (f"chmod a-x {PROGRAM}", "could not be executed: Permission denied"),
        (f"echo true >{PROGRAM}", "could not be executed: Exec format error"),
    ],
)
def test_a_program_that_others_could_have_written_makes_no_account(
    first_use: FirstUse, command: str, part: str
) -> None:
    first_use.put_program(MAKES)
    first_use.machine.run(command)
    if "/srv/open" in command:
        policy = first_use.machine.read(RootMediator.POLICY)
        moved = policy.replace(str(PROGRAM), f"/srv/open/{PROGRAM.name}")
        first_use.machine.write(RootMediator.POLICY, moved)
    answer = first_use.spawn("simon")
    first_use.machine.run(["rm", "-rf", "/srv/open"])
    expect(answer, "account_not_created", part)
    assert (first_use.list_runs(), first_use.list_new()) == ([], [])


def test_a_folder_of_turns_that_is_not_roots_alone_is_not_used(first_use: FirstUse) -> None:
    first_use.put_program(MAKES)
    first_use.machine.run("install -d -o rhea /run/sudospawner")
    expect(first_use.spawn("simon"), "account_not_created", "has to belong to root")
    assert first_use.list_runs() == []


@pytest.mark.parametrize(
    ("program", "parts"),
    [
        ("echo one; printf 'two\\033[31m'; exit 3", ["exited with status 3: one\\ntwo\\u{1b}[31m"]),
        ("kill -9 $$", ["was killed by signal 9"]),
        ("yes no more | head -c 1000000; exit 1", ["exited with status 1: ", "no more"]),
        ("trap '' TERM; setsid sleep 7741 & setsid sleep 7742", ["took too long"]),
        ("setsid sleep 7743 & exit 4", ["exited with status 4"]),
    ],
)
def test_a_program_that_fails_or_hangs_is_told_with_its_last_output_and_leaves_nothing(
    first_use: FirstUse, program: str, parts: list[str]
) -> None:
    first_use.set_policy("timeout_seconds = 2")
    first_use.put_program(f"#!/bin/sh\n{program}\n")
    answer = first_use.spawn("simon")
    for part in parts:
        expect(answer, "account_not_created", part)
    assert answer.status == 0
    assert len(answer.reply["error"]) < 8192
    lines = first_use.mediator.list_processes("root")
    assert [line for line in lines if "sleep 774" in line] == []
    [record] = first_use.list_records("action=create")[-1:]
    assert "target=simon action=create code=account_not_created" in record


def test_what_the_program_leaves_running_is_ended_although_it_succeeded(
    first_use: FirstUse,
) -> None:
    first_use.put_program(f"{MAKES}trap '' TERM\nsetsid sleep 7745 >/dev/null 2>&1 &\n")
    spawned = first_use.spawn("simon")
    assert spawned.reply["ok"], spawned
    lines = first_use.mediator.list_processes("root")
    assert [line for line in lines if "sleep 7745" in line or "keeper" in line] == []
    first_use.stop("simon", spawned)


@pytest.mark.parametrize(
    ("program", "code", "part"),
    [
        ("true", "target_unknown", "check it with `id`"),
        ("useradd river", "target_unknown", "check it with `id`"),
        ("useradd --badname Simon || useradd --badnames Simon", "target_unknown", "check it"),
        ('useradd --non-unique --uid 0 "$NB_USER"', "target_is_root", "root is never a target"),
        ('useradd "$NB_USER"', "target_not_permitted", "in one of targets.groups"),
        ('useradd -G jupyterhub --uid 900 "$NB_USER"', "target_not_permitted", "targets.min_uid"),
        (
            'useradd -G jupyterhub,disk "$NB_USER"',
            "target_not_permitted",
            "it is in the group disk",
        ),
        (
            'useradd -G jupyterhub --shell /usr/sbin/nologin "$NB_USER"',
            "target_not_permitted",
            "lets nobody log in",
        ),
        (
            'useradd -G jupyterhub --expiredate 2020-01-01 "$NB_USER"',
            "target_not_permitted",
            "it has expired",
        ),
        (
            'useradd -G jupyterhub --non-unique --uid "$(id -u rhea)" "$NB_USER"',
            "target_not_permitted",
            "it is one of hub_users",
        ),
    ],
)
def test_whatever_the_program_makes_is_decided_on_as_any_account(
    first_use: FirstUse, program: str, code: str, part: str
) -> None:
    targets = '[targets]\ngroups = ["jupyterhub"]\ndeny_groups = ["disk"]\n'
    if "hub_users" in part:
        targets += "min_uid = 1\n"
    first_use.set_policy(more=targets)
    first_use.put_program(f"#!/bin/sh\n{program}\n")
    answer = first_use.spawn("simon")
    expect(answer, code, part)
    assert "pid" not in answer.reply


def test_no_more_than_ten_accounts_are_tried_in_a_minute(first_use: FirstUse) -> None:
    machine = first_use.machine
    first_use.put_program(f"{NOTE}exit 1\n")
    names = [f"u{number}" for number in range(12)]
    codes = [first_use.spawn(name).reply["code"] for name in names]
    assert codes == ["account_not_created"] * 10 + ["accounts_too_many"] * 2
    assert first_use.list_runs() == names[:10]
    answer = first_use.spawn("simon")
    expect(answer, "accounts_too_many", "10 were tried within a minute")
    expect(answer, "accounts_too_many", "try again in a minute")
    # A minute later.
    machine.run(f"touch --date '61 seconds ago' {PLACES}/3")
    codes = [first_use.spawn(name).reply["code"] for name in ("simon", "river")]
    assert codes == ["account_not_created", "accounts_too_many"]
    # Nothing grows, and nobody else can change it.
    assert machine.run(f"ls {PLACES} | wc -l").stdout == "10\n"
    assert machine.run(["stat", "--format=%a %U", PLACES]).stdout == "700 root\n"
    # Accounts that are there have their servers.
    spawned = first_use.spawn("zoe")
    assert spawned.reply["ok"], spawned
    first_use.stop("zoe", spawned)
    machine.run(["rm", "-r", PLACES])
    first_use.set_policy("per_minute = 1")
    codes = [first_use.spawn(name).reply["code"] for name in ("simon", "river")]
    assert codes == ["account_not_created", "accounts_too_many"]


@pytest.mark.parametrize("first_use", ["root", "unit"], indirect=True)
def test_two_calls_at_once_for_one_name_make_one_account_and_start_two_servers(
    first_use: FirstUse,
) -> None:
    machine = first_use.machine
    machine.run("rm -f /run/go && mkfifo /run/go")
    first_use.put_program(f"{NOTE}cat /run/go\n{MAKES.removeprefix(NOTE)}")
    spawn = {"action": "spawn", "args": [], "env": {}}
    options = ["--action=spawn"]
    calls = [
        first_use.mediator.start(
            {**spawn, "server_name": name},
            target="simon",
            options=[*options, f"--server-name={name}"],
        )
        for name in ("", "gpu")
    ]
    wait_for_file(first_use.mediator, RAN)
    # Both monitors have begun, and one of them has its turn.
    machine.run("echo go >/run/go")
    replies = []
    for call in calls:
        assert call.stdout is not None and call.stderr is not None
        replies.append(json.loads(call.stdout.readline()))
        call.wait()
        call.stdout.close()
        call.stderr.close()
    assert [reply["ok"] for reply in replies] == [True, True], replies
    assert first_use.list_runs() == ["simon"]
    for name, reply in zip(("", "gpu"), replies, strict=True):
        stop = {"action": "stop", "interrupt_seconds": 0, "server_name": name}
        stop |= {key: reply[key] for key in ("pid", "unit") if key in reply}
        assert first_use.mediator.call(stop, target="simon").reply["alive"] is False


def test_a_turn_that_does_not_come_is_told(first_use: FirstUse) -> None:
    machine = first_use.machine
    first_use.set_policy("timeout_seconds = 1")
    machine.run(f"mkdir -p -m 0700 {PLACES} && rm -f /run/go && mkfifo /run/go")
    with machine.start(f"flock {PLACES} sh -c 'echo yes >/run/held; cat /run/go'") as holder:
        wait_for_file(first_use.mediator, "/run/held")
        answer = first_use.spawn("simon")
        machine.run("echo go >/run/go; rm /run/held")
        holder.wait()
    expect(answer, "account_not_created", "take too long")
    assert first_use.list_new() == []


@pytest.fixture
def silent_names(first_use: FirstUse) -> Iterator[Machine]:
    """The machine, with an account database that can be made to fail and to hang."""
    machine = first_use.machine
    machine.write("/run/silent.c", Path(__file__).with_name("silent_names.c").read_text())
    place = "/usr/lib/$(cc -print-multiarch)/libnss_silent.so.2"
    machine.run(
        f"cc -shared -fPIC -o {place} /run/silent.c && "
        f"cp {SWITCH} {SWITCH}.before && sed -i 's/^passwd:.*/& silent/' {SWITCH}"
    )
    yield machine
    machine.run(f"rm -f /run/names-*; mv {SWITCH}.before {SWITCH} && rm {place}")


def test_a_directory_that_does_not_answer_is_nobodys_absence(
    first_use: FirstUse, silent_names: Machine
) -> None:
    first_use.put_program(MAKES)
    silent_names.run(["touch", "/run/names-fail"])
    expect(first_use.spawn("simon"), "account_not_created", "account database has not answered")
    silent_names.run(["touch", "/run/names-hang"])
    answer = first_use.spawn("simon")
    silent_names.run("rm /run/names-*")
    assert answer.reply["code"] == "account_timeout"
    assert (first_use.list_runs(), first_use.list_new()) == ([], [])
    spawned = first_use.spawn("simon")
    assert spawned.reply["ok"], spawned
    first_use.stop("simon", spawned)


def test_the_check_says_which_accounts_are_made(first_use: FirstUse) -> None:
    words = [first_use.mediator.path, "check", "--json", "--mode=root", "--hub-user=rhea"]
    found = []
    for name in ("simon", "Simon"):
        run = first_use.machine.run([*words, "--pam=no", f"--user={name}"], check=False)
        findings = json.loads(run.stdout)["findings"]
        codes = ("accounts_create", "target_unknown")
        found.append({one["code"]: one["level"] for one in findings if one["code"] in codes})
    assert found == [
        {"accounts_create": "ok", "target_unknown": "ok"},
        {"accounts_create": "ok", "target_unknown": "problem"},
    ]
    first_use.machine.run(["chmod", "g+w", PROGRAM])
    tried = [first_use.mediator.path, "policy", "--check", RootMediator.POLICY]
    assert "no account would be made" in first_use.machine.run(tried, check=False).stderr
