"""Secrets for hooks: what hooks before and after get, in both launchers, and no server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.machine import Machine
from system.after_hooks import LAUNCHERS, Followed, followed_in

FOLDER = "/etc/sudospawner/credentials"
SECRETS = f'credentials = "{FOLDER}"\n'
SECRET = "the-secret-of-zoe-7b1f"
# By the hook itself, and by something that has closed its descriptors and become a daemon.
READ = """\
#!/bin/sh
cat "$SUDOSPAWNER_CREDENTIALS" >/run/{word}
stat --dereference --format='%a %U' "$SUDOSPAWNER_CREDENTIALS" >>/run/{word}
(cd /tmp; exec 3>&- 4>&- 5>&- 6>&- 7>&-; setsid cat "$SUDOSPAWNER_CREDENTIALS" >>/run/{word})
! echo changed >"$SUDOSPAWNER_CREDENTIALS"
"""
# Looks for a text in all memory of a process.
SEARCH = """\
import sys
pid, text = sys.argv[1], sys.argv[2].encode()
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
    for line in maps:
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        try:
            memory.seek(begin)
            if text in memory.read(end - begin):
                sys.exit(f"found in {line}")
        except (OSError, ValueError, OverflowError):
            pass
"""


@pytest.fixture(params=LAUNCHERS)
def followed(request: pytest.FixtureRequest, machine: Machine, hub6: Cache) -> Iterator[Followed]:
    """A mediator whose hooks have secrets, in each launcher."""
    with followed_in(request.param, machine, hub6.bin / "sudospawner") as followed:
        followed.set_policy(hooks=SECRETS)
        machine.write(f"{FOLDER}/zoe", f"{SECRET}\n", mode=0o600)
        machine.write(f"{FOLDER}/default", "the-default\n", mode=0o600)
        machine.run(["chmod", "0700", FOLDER])
        yield followed


def test_hooks_before_and_after_get_the_secret_of_their_account(followed: Followed) -> None:
    followed.mediator.add_hook("20-read", READ.format(word="before"))
    followed.add_after("20-read", READ.format(word="after"))
    spawned = followed.mediator.spawn()
    assert [hook["status"] for hook in spawned.reply["hooks"]] == ["ok", "ok"], spawned
    followed.end(spawned)
    followed.await_quiet()
    for word in ("before", "after"):
        assert followed.machine.read(f"/run/{word}") == f"{SECRET}\n600 root\n{SECRET}\n"
    followed.machine.run(["rm", "/run/before", "/run/after"])


def test_an_account_without_a_file_gets_the_default_or_nothing(followed: Followed) -> None:
    hook = '#!/bin/sh\necho "${SUDOSPAWNER_CREDENTIALS-none}"\ncat $SUDOSPAWNER_CREDENTIALS\n'
    followed.mediator.add_hook("20-read", hook)
    outputs = []
    for file in ("zoe", "default"):
        followed.machine.run(["rm", f"{FOLDER}/{file}"])
        spawned = followed.mediator.spawn()
        outputs.append(spawned.reply["hooks"][1]["output"].split("\n")[:2])
        followed.end(spawned)
    assert outputs[0][0].startswith("/proc/") and outputs[0][1] == "the-default"
    assert outputs[1][0] == "none"


def test_no_server_has_the_secret_of_its_hooks(followed: Followed) -> None:
    seen = followed.mediator.take_report()
    assert set(seen["descriptors"]) <= {"0", "1", "2"}
    assert not [name for name in seen["env"] if "CREDENTIALS" in name]
    spawned = followed.mediator.spawn()
    machine, pid = followed.machine, spawned.reply["pid"]
    assert "memfd" not in machine.read(f"/proc/{pid}/maps")
    assert "memfd" not in machine.run(["ls", "-l", f"/proc/{pid}/fd"]).stdout
    processes = machine.run(["ps", "--format=pid=", "--user=zoe"]).stdout.split()
    assert str(pid) in processes
    for process in processes:
        machine.run(["/usr/bin/python3", "-c", SEARCH, process, SECRET[:-1]])
    followed.end(spawned)


def test_where_others_could_read_or_write_a_secret_no_hook_is_run(followed: Followed) -> None:
    machine = followed.machine
    for break_it, mend_it, word in [
        (f"chmod g+r {FOLDER}/zoe", f"chmod g-r {FOLDER}/zoe", "read by others"),
        (f"chmod o+r {FOLDER}/zoe", f"chmod o-r {FOLDER}/zoe", "read by others"),
        (f"chown zoe {FOLDER}/zoe", f"chown root {FOLDER}/zoe", "chown root"),
        (f"chmod o+w {FOLDER}", f"chmod o-w {FOLDER}", "chmod go-w"),
        (f"mv {FOLDER} {FOLDER}.away", f"mv {FOLDER}.away {FOLDER}", "does not exist"),
    ]:
        machine.run(break_it)
        spawned = followed.mediator.spawn()
        machine.run(mend_it)
        [hook] = spawned.reply["hooks"]
        assert (hook["name"], hook["status"]) == (FOLDER, "refused")
        assert word in hook["output"]
        followed.end(spawned)
    assert not [line for line in followed.read_diary() if line.startswith("before")]
