"""Tickets for servers: modules fetch them with a keytab of the user's, as docs/sessions.md says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from machine.catalogue import cache_named
from machine.installation import REPOSITORY
from machine.machine import Machine
from system.conftest import install_what_is_tested
from system.mediator import wait_for_file
from system.sessions import LAUNCHERS, MODULES, Sessions, sessions_in

REALM = "SERVERS.EXAMPLE"
CONFIGURATION = f"""\
[libdefaults]
default_realm = {REALM}
dns_lookup_kdc = false
rdns = false
[realms]
{REALM} = {{
    kdc = 127.0.0.1
}}
"""
TICKETS = "/etc/sudospawner/tickets"
VARIABLES = "/etc/sudospawner/variables"
KEYTABS = "/etc/sudospawner/keytabs"
CACHE = "/run/sudospawner-tickets/zoe"
# Says where its tickets are, and which.
SERVER = """\
#!/bin/sh
{ echo "$KRB5CCNAME"; klist; } >/home/zoe/tickets 2>&1
exec sleep 9999
"""


def read_page() -> tuple[str, str, str]:
    """The lines of the service, the file of variables and the script, as the page has them."""
    page = (REPOSITORY / "docs/sessions.md").read_text()
    part = page.split("## Kerberos\n")[1].split("\n## ")[0]
    script = re.search(r"```sh\n(.*?)```", part, re.DOTALL)
    lines = [line.strip() for line in part.splitlines() if line.startswith("    ")]
    service = [line for line in lines if line.startswith("session ")]
    [variable] = [line for line in lines if line.startswith("KRB5CCNAME ")]
    assert script is not None and len(service) == 2
    return "\n".join(service), variable, script[1]


@pytest.fixture(scope="module")
def realm(debian: int) -> Iterator[Machine]:
    """A machine of this file's own, with a KDC that knows zoe, and zoe's keytab."""
    with Machine(release=debian) as machine:
        install_what_is_tested(machine, cache_named("hub6"))
        machine.write("/etc/krb5.conf", CONFIGURATION)
        machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)
        machine.run(
            f"dpkg --force-unsafe-io --install {cache_named('kerberos').path}/*.deb && "
            "rm /usr/sbin/policy-rc.d",
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )
        machine.run(f"kdb5_util create -s -r {REALM} -P master-password")
        machine.run(["systemctl", "start", "krb5-kdc"])
        machine.run(
            f"mkdir -p -m 0700 {KEYTABS} && kadmin.local addprinc -randkey zoe && "
            f"kadmin.local ktadd -k {KEYTABS}/zoe -norandkey zoe"
        )
        yield machine


@pytest.fixture(params=LAUNCHERS)
def sessions(request: pytest.FixtureRequest, realm: Machine) -> Iterator[Sessions]:
    """Sessions with the modules and the script of the page."""
    service, variable, script = read_page()
    # Its folder is the policy's, which the end of a test removes.
    kept = realm.run(["cat", f"{KEYTABS}/zoe"], input=b"").stdout
    with sessions_in(realm, request.param, cache_named("hub6").bin / "sudospawner") as sessions:
        sessions.set_modules(f"{MODULES}{service}\n")
        realm.write(TICKETS, script, mode=0o755)
        realm.write(VARIABLES, f"{variable}\n")
        sessions.mediator.put_server(SERVER)
        yield sessions
    realm.run(["mkdir", "-p", "-m", "0700", KEYTABS])
    realm.write(f"{KEYTABS}/zoe", kept, mode=0o600)


def test_a_server_has_tickets_that_go_with_its_session(sessions: Sessions) -> None:
    machine = sessions.machine
    spawned = sessions.mediator.spawn(env={"PATH": "/usr/bin"})
    assert spawned.reply["ok"], spawned
    wait_for_file(sessions.mediator, "/home/zoe/tickets")
    seen = machine.read("/home/zoe/tickets")
    machine.run(["rm", "/home/zoe/tickets"])
    assert seen.startswith(f"FILE:{CACHE}\n")
    assert f"Default principal: zoe@{REALM}" in seen
    assert f"krbtgt/{REALM}@{REALM}" in seen
    assert machine.run(["stat", "-c", "%U %a", CACHE]).stdout == "zoe 600\n"
    unit = spawned.reply.get("unit", "")
    assert sessions.mediator.stop(spawned, unit=unit)["alive"] is False
    sessions.wait_for_close()
    assert machine.run(["test", "-e", CACHE], check=False).returncode == 1


def test_a_user_without_a_keytab_has_no_server_and_is_told_why(sessions: Sessions) -> None:
    request = {"action": "spawn", "args": [], "env": {}}
    reply = sessions.mediator.call(request, target="wash").reply
    assert (reply["ok"], reply["code"]) == (False, "pam_failed")
    assert "session: " in reply["error"]
    assert sessions.list_closers() == []
