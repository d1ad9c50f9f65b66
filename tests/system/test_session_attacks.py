"""What a session must not be: a way to root for its user, the Hub, or who calls its program."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.mediator import wait_for_file, wait_until
from system.sessions import LAUNCHERS, MODULES, NOTE, VARIABLES, Sessions, sessions_in
from system.test_packages import BINARIES
from system.test_what_is_inherited import CALLER, PLACE, READ_KEY

PRELOADED = "/usr/local/lib/preloaded.so"
WHO = "/run/preloaded"
# Notes who has loaded it.
SOURCE = f"""#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void note(void) {{
    char line[32];
    int file = open("{WHO}", O_WRONLY | O_APPEND);
    int length = snprintf(line, sizeof line, "%d\\n", (int) geteuid());
    if (file >= 0 && write(file, line, length) >= 0) close(file);
}}
"""


@pytest.fixture(params=LAUNCHERS)
def sessions(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Sessions]:
    """Sessions of servers with each launcher."""
    with sessions_in(machine, request.param, hub6.bin / "sudospawner") as sessions:
        yield sessions


def test_a_variable_that_pam_sets_reaches_no_process_of_roots(sessions: Sessions) -> None:
    machine = sessions.machine
    machine.run(f"gcc -shared -fPIC -x c -o {PRELOADED} -", input=SOURCE)
    machine.run(f"touch {WHO} && chmod 0666 {WHO}")
    machine.write(VARIABLES, f"LD_PRELOAD DEFAULT={PRELOADED}\n")
    # pam_exec gives all variables to what it executes, as root: that is not ours to prevent.
    sessions.set_modules("".join(MODULES.splitlines(keepends=True)[:-1]))
    # By default a server has no such variable.
    sessions.set_policy(more="[environment]\nremove = []\n")
    try:
        spawned = sessions.mediator.spawn("report", "/home/zoe/seen.json")
        assert spawned.reply["ok"], spawned
        wait_for_file(sessions.mediator, "/home/zoe/seen.json")
        seen = json.loads(machine.read("/home/zoe/seen.json"))
        assert seen["env"]["LD_PRELOAD"] == PRELOADED
        unit = spawned.reply.get("unit", "")
        assert sessions.mediator.stop(spawned, unit=unit)["alive"] is False
        wait_until(lambda: sessions.list_closers() == [], "the end of what closes it")
        loaded = set(machine.read(WHO).split())
    finally:
        machine.run(["rm", "-f", PRELOADED, WHO, "/home/zoe/seen.json"])
    assert loaded == {str(machine.look_up_account("zoe").uid)}


def test_what_pam_sets_is_removed_as_what_a_request_sets(sessions: Sessions) -> None:
    sessions.machine.write(VARIABLES, "LD_PRELOAD DEFAULT=/x\nBASH_ENV DEFAULT=/x\n")
    seen = sessions.mediator.take_report()
    assert not {"LD_PRELOAD", "BASH_ENV"} & set(seen["env"])
    sessions.wait_for_close()


@pytest.mark.parametrize(
    ("modules", "step", "words"),
    [
        ("account required pam_nologin.so file=/run/closed", "account", "closed for today\\n"),
        ("account required pam_deny.so", "account", "Authentication failure"),
        ("auth required pam_deny.so", "credentials", "Failure setting user credentials"),
        ("session required pam_deny.so", "session", "Cannot make/remove an entry"),
        ("session required pam_exec.so stdout /usr/local/lib/refuse", "session", "no room for zoe"),
    ],
    ids=["nologin", "account", "credentials", "session", "exec"],
)
def test_a_module_that_refuses_is_told_with_its_words(
    sessions: Sessions, modules: str, step: str, words: str
) -> None:
    machine = sessions.machine
    machine.write("/run/closed", "closed for today\n")
    refuse = '#!/bin/sh\nprintf "no room for %s \\033[31m" "$PAM_USER"\nexit 1\n'
    machine.write("/usr/local/lib/refuse", refuse, mode=0o755)
    sessions.set_modules(f"{modules}\n{MODULES}")
    try:
        reply = sessions.mediator.spawn().reply
    finally:
        machine.run(["rm", "/run/closed", "/usr/local/lib/refuse"])
    assert (reply["ok"], reply["code"]) == (False, "pam_failed")
    assert f"{step}: " in reply["error"]
    assert words in reply["error"]
    assert "\033" not in reply["error"]
    wait_until(lambda: sessions.list_of_logind() == [], "the end of logind's session")
    assert sessions.list_closers() == []


def test_an_account_whose_password_has_to_be_changed_has_no_server(sessions: Sessions) -> None:
    sessions.machine.run(["chage", "--lastday", "0", "zoe"])
    try:
        reply = sessions.mediator.spawn().reply
    finally:
        sessions.machine.run(["chage", "--lastday", "20000", "zoe"])
    assert (reply["ok"], reply["code"]) == (False, "pam_failed")
    assert "account: " in reply["error"]


def test_a_program_that_others_could_have_written_opens_no_session(sessions: Sessions) -> None:
    program = sessions.mediator.path.with_name("sudospawner-session")
    for harm in (["chown", "zoe", program], ["chmod", "0777", program], ["rm", program]):
        sessions.machine.run(harm)
        reply = sessions.mediator.spawn().reply
        assert (reply["ok"], reply["code"]) == (False, "binary_untrusted"), harm
        assert str(program) in reply["error"]
        sessions.machine.run(["chown", "root", program], check=False)
        sessions.machine.run(["chmod", "0711", program], check=False)
    assert sessions.read_notes() == []


def test_whoever_calls_the_program_by_hand_opens_nothing(sessions: Sessions) -> None:
    program = sessions.mediator.path.with_name("sudospawner-session")
    words = [program, "sudospawner", "Process", "zoe", "0", "3", "4", "5"]
    # Descriptors that are open, as a request and two pipes would be.
    held = "exec 3</etc/hostname 4>/dev/null 5</dev/null; exec "
    for user in ("zoe", "rhea"):
        line = held + " ".join(map(str, words))
        answer = sessions.machine.run(line, user=user, check=False)
        assert answer.returncode == 1
        assert "sudospawner alone starts this program" in answer.stderr
        sudo = sessions.machine.run(["sudo", "-n", *words], user=user, check=False)
        assert sudo.returncode != 0
    assert sessions.read_notes() == []


def test_nobody_is_in_a_session_by_its_name_alone(sessions: Sessions) -> None:
    resumed = ["Process", "zoe", "0", "3", "4", "5", "6"]
    held = "exec 3</etc/hostname 4>/dev/null 5</dev/null 6</dev/null; "
    for user in ("zoe", "rhea"):
        line = f"{held} exec -a sudospawner-in-session {sessions.mediator.path} {' '.join(resumed)}"
        answer = sessions.machine.run(["bash", "-c", line], user=user, check=False)
        assert json.loads(answer.stdout)["code"] == "usage"
    assert sessions.read_notes() == []


def test_a_key_of_the_callers_is_in_no_session(sessions: Sessions) -> None:
    machine, mediator = sessions.machine, sessions.mediator
    mediator.put_server(READ_KEY)
    machine.write(PLACE, CALLER.read_text(), mode=0o755)
    request = {"action": "spawn", "args": ["KEY"], "env": {"HOME": "/home/zoe"}}
    feed = 'text=$1; shift; printf %s "$text" | "$@"'
    words = ["sh", "-c", feed, "sh", json.dumps(request), *map(str, mediator.list_words("zoe"))]
    machine.run([PLACE, "key", "secret-of-rhea", "--", *words], user="rhea")
    wait_for_file(mediator, "/home/zoe/key")
    said = machine.read("/home/zoe/key")
    machine.run(["rm", "/home/zoe/key", PLACE])
    assert "secret-of-rhea" not in said


def test_a_key_that_a_module_adds_is_the_servers(sessions: Sessions) -> None:
    """As the tokens of AFS are."""
    machine, mediator = sessions.machine, sessions.mediator
    machine.write(NOTE, "#!/bin/sh\nkeyctl add user from-pam given @s\n", mode=0o755)
    server = "#!/bin/sh\nkeyctl print %user:from-pam >/home/zoe/key 2>&1\nexec sleep 9999\n"
    mediator.put_server(server)
    assert mediator.spawn(env={"PATH": "/usr/bin"}).reply["ok"]
    wait_for_file(mediator, "/home/zoe/key")
    said = machine.read("/home/zoe/key")
    machine.run(["rm", "/home/zoe/key"])
    assert said == "given\n"


@pytest.mark.parametrize("sessions", ["process"], indirect=True)
def test_without_libpam_a_server_with_a_session_is_refused_in_words(sessions: Sessions) -> None:
    machine = sessions.machine
    [library] = machine.run("ls /usr/lib/*/libpam.so.0").stdout.split()
    # Root calls by itself: sudo would need libpam, too.
    without = f'mount --bind /dev/null {library}; exec "$@"'
    words = ["unshare", "--mount", "sh", "-ec", without, "sh", sessions.mediator.path]
    spawn = json.dumps({"action": "spawn", "args": [], "env": {}})
    run = machine.run([*words, "--user=zoe"], input=spawn, check=False)
    reply = json.loads(run.stdout)
    assert (reply["ok"], reply["code"]) == (False, "pam_failed")
    assert "libpam cannot be loaded (Debian: libpam0g; Fedora: pam-libs)" in reply["error"]


def test_one_program_alone_loads_libpam(machine: Machine, hub6: Cache) -> None:
    loading = []
    for program in BINARIES:
        shown = machine.run(["readelf", "--dynamic", "--wide", hub6.bin / program]).stdout
        needed = [line.split()[-1] for line in shown.splitlines() if "(NEEDED)" in line]
        assert "[libc.so.6]" in needed and "[libpam.so.0]" not in needed
        # The name without which nothing can be loaded.
        names_it = machine.run(["grep", "-c", "libpam.so.0", hub6.bin / program], check=False)
        loading += [program] if names_it.returncode == 0 else []
    assert loading == ["sudospawner-session"]
