"""Whatever replies in the mediator's place, a real Hub goes on, and nobody else is concerned.

In user mode the mediator is a process of the user's. Here it is a program that zoe writes. And what
has a server's port after it is not taken for it: the Hub notices the end as the log ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from machine.caches import Cache
from machine.catalogue import cache_named
from machine.hub import Hub, HubError
from machine.machine import Machine
from system.mediator import wait_until

PROGRAM = "/opt/false/bin/sudospawner"
RULE = "/etc/sudoers.d/false-replies"
# zoe's own program, or the mediator.
WRAPPER = """\
#!/bin/sh
[ "$(id -un)" != zoe ] || exec /home/zoe/mediator
exec {mediator} "$@"
"""
CONFIGURATION = f"""
c.SudoSpawner.sudospawner_path = "{PROGRAM}"
def hurry_with_hers(spawner):
    # Nothing listens there.
    spawner.http_timeout = 2 if spawner.user.name == "zoe" else 120
c.Spawner.pre_spawn_hook = hurry_with_hers
# What the Hub notices sooner, it has been told.
c.Spawner.poll_interval = 3600
"""
REPLY = """\
#!/usr/bin/python3
import json, os, sys
request = json.load(sys.stdin)
if request["action"] != "spawn":
    print(json.dumps({{"ok": True, "alive": False, "leftovers_killed": 0}}))
    sys.exit()
{reply}
"""

# What she replies to a spawn.
FALSE = {
    "a million events": "for n in range(10**6): print(json.dumps({'event': 'started', 'pid': n}))",
    "hooks of hers": 'for n in range(10**5): print(\'{"event": "hook", "name": "<b>"}\')',
    "nested": "print('{\"ok\": true, \"pid\": ' + '[' * 400_000)",
    "nested events": "print('{\"event\":' * 30_000)",
    "not a number": 'print(\'{"ok": true, "pid": NaN, "listening": Infinity}\')',
    "a fraction": 'print(\'{"ok": true, "pid": 1.0}\')',
    "a negative number": 'print(\'{"ok": true, "pid": -1}\')',
    "a number without end": "print('{\"ok\": true, \"pid\": ' + '9' * 400_000 + '}')",
    "a key twice": 'print(\'{"ok": true, "pid": 1, "ok": false, "error": {}}\')',
    "half a character": 'os.write(1, b\'{"ok": false, "error": "\\xc3"}\')',
    "a code that is a line": (
        "print(json.dumps({'ok': False, 'code': 'x\\r\\x1b[2K\\n[C JupyterHub] down'}))"
    ),
    "an error that is a line": (
        "print(json.dumps({'ok': False, 'error': '\\r\\x1b[2K\\n[C JupyterHub] down', "
        "'stderr': '\\u202e\\r[C JupyterHub] down'}))"
    ),
    "a code of her own": "print(json.dumps({'ok': False, 'code': os.urandom(9).hex()}))",
    "a message of sudo's": "sys.exit('sudo: /etc/\\x1b[2Ksudoers:1:1: syntax error')",
    "bytes alone": "for _ in range(50_000): os.write(1, b'{')",
    "nothing": "os.kill(os.getpid(), 9)",
}


@pytest.fixture(scope="module")
def false_hub(machine: Machine, hub6: Cache) -> Iterator[Hub]:
    """A Hub whose mediator is zoe's own program for her, with a server of wash's."""
    machine.write(PROGRAM, WRAPPER.format(mediator=hub6.bin / "sudospawner"), mode=0o755)
    machine.write(RULE, f"rhea ALL=(%jupyterhub) NOPASSWD: {PROGRAM}\n", mode=0o440)
    with Hub(machine, cache_named("hub6"), port=8130, configuration=CONFIGURATION) as hub:
        hub.start_server("wash")
        yield hub
        hub.stop_all_servers()
    machine.run(["rm", "--recursive", RULE, "/opt/false", "/home/zoe/mediator"])


def reply_with(hub: Hub, reply: str) -> str:
    """What zoe is told when this replies to her spawn."""
    program = REPLY.format(reply=reply)
    hub.machine.write("/home/zoe/mediator", program, owner="zoe", mode=0o755)
    with pytest.raises(HubError) as failure:
        hub.start_server("zoe")
    return failure.value.message


def test_no_reply_is_more_than_a_failed_start_of_her_own(false_hub: Hub) -> None:
    log = false_hub.read_log()
    for reply in FALSE.values():
        assert len(reply_with(false_hub, reply)) < 20_000
    told = false_hub.read_log().removeprefix(log)
    assert "Traceback" not in re.sub(r"it said: .*", "", told)
    assert "never retrieved" not in told
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", told) == []
    assert re.findall(r"^ *\[C", told, re.MULTILINE) == []
    assert len(told) < 20_000 * len(FALSE)
    # A code is a label of a metric, which the Hub never forgets.
    assert set(re.findall(r"reason=(\w*)", told)) == {"reply_too_large", "no_reply", "spawn_failed",
                                                      "sudo_configuration_broken"}  # fmt: skip
    assert false_hub.find_server("wash")["ready"]


@pytest.mark.parametrize("whose", ["the Hub's", "another user's", "the first"])
def test_a_process_of_somebody_else_is_not_touched(false_hub: Hub, whose: str) -> None:
    hub, server = false_hub.pid, false_hub.find_pid("wash")
    pid = {"the Hub's": hub, "another user's": server, "the first": 1}[whose]
    reply_with(false_hub, f"print(json.dumps({{'ok': True, 'pid': {pid}, 'listening': True}}))")
    wait_until(lambda: false_hub.find_server("zoe") is None, "the end of what is not hers")
    assert (false_hub.pid, false_hub.find_pid("wash")) == (hub, server)
    assert false_hub.find_server("wash")["ready"]


def test_the_end_of_a_server_is_noticed_before_others_have_its_port_for_long(
    false_hub: Hub,
) -> None:
    false_hub.machine.run(["kill", "-KILL", str(false_hub.find_pid("wash"))])
    false_hub.wait_until_gone("wash")
    false_hub.start_server("wash")
