"""`Directory`: accounts from an LDAP server, through sssd, with the names that directories have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from machine.catalogue import cache_named
from machine.machine import Machine
from system.mediator import wait_until


class Entry(NamedTuple):
    """An account of the directory, which is also the number of its primary group."""

    name: str
    uid: int

    @property
    def home(self) -> str:
        """Its home directory."""
        return f"/home/{self.name}"


DOTTED = Entry("jane.doe", 20001)
DIGITS = Entry("20150123", 20002)
QUALIFIED = Entry("jdoe@ad.example", 20003)
ENTRIES = (DOTTED, DIGITS, QUALIFIED)

# The group whose members may have servers, in each of the two domains.
GROUP = "domain users"
GROUPS = (GROUP, f"{GROUP}@ad.example")
MEMBERS = 5000
COURSES = 200

PROXY = Path(__file__).with_name("slow_proxy.py")
PORT = 389
SLOW = "slow-directory"
SLAPD = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix dc=example
directory /var/lib/ldap
maxsize 67108864
index objectClass,uid,cn,memberUid,uidNumber,gidNumber eq
"""
SERVICE = """\
SLAPD_CONF=/etc/ldap/slapd.conf
SLAPD_USER=openldap
SLAPD_GROUP=openldap
SLAPD_SERVICES=ldap://127.0.0.1:{port}/
"""
SSSD = """\
[sssd]
domains = people, ad.example
[domain/people]
{common}
ldap_search_base = ou=people,dc=example
[domain/ad.example]
{common}
ldap_search_base = ou=ad,dc=example
use_fully_qualified_names = true
"""
# With longer limits than its own, so that sssd does not give up a directory that a test holds up.
COMMON = """\
id_provider = ldap
access_provider = permit
sudo_provider = none
autofs_provider = none
ldap_uri = ldap://127.0.0.1
ldap_id_use_start_tls = false
ldap_opt_timeout = 120
ldap_search_timeout = 120
ldap_enumeration_search_timeout = 120
enumerate = false"""


class Directory:
    """slapd and sssd in a machine. `Machine` alone knows no account of the directory."""

    def __init__(self, machine: Machine) -> None:
        """Use this machine; `install` comes first."""
        self.machine = machine

    def install(self) -> None:
        """Install both from the cache, with two domains and their accounts, and make the homes."""
        archives = cache_named("directory").path
        run = self.machine.run
        # Neither starts before it has its configuration.
        self.machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)
        run(
            "echo slapd slapd/no_configuration boolean true | debconf-set-selections && "
            f"dpkg --force-unsafe-io --install {archives}/*.deb && rm /usr/sbin/policy-rc.d",
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )
        self.machine.write("/etc/ldap/slapd.conf", SLAPD)
        run("slapadd -q -f /etc/ldap/slapd.conf && chown -R openldap: /var/lib/ldap", input=LDIF)
        self.machine.write("/etc/sssd/sssd.conf", SSSD.format(common=COMMON), mode=0o600)
        for entry in ENTRIES:
            run(f"mkdir -m 0700 {entry.home} && chown {entry.uid}:{entry.uid} {entry.home}")
        self._serve(PORT)
        run(["systemctl", "start", "sssd-nss.socket", "sssd-pam.socket"])
        self.begin_afresh()

    def knows(self, name: str) -> bool:
        """Whether the machine knows an account. (`getent` takes digits for a uid.)"""
        return self.machine.run(["id", "--user", "--", name], check=False).returncode == 0

    def list_groups(self, entry: Entry) -> list[int]:
        """The ids of all groups of an account."""
        answer = self.machine.run(["id", "--groups", "--", entry.name])
        return sorted(map(int, answer.stdout.split()))

    def begin_afresh(self, *entries: Entry) -> None:
        """Start the server if it is stopped, forget what is cached, and wait for these accounts."""
        self.machine.run(["systemctl", "start", "slapd"])
        self._forget()
        for entry in entries or ENTRIES:
            wait_until(lambda name=entry.name: self.knows(name), f"the account {entry.name}")

    def _serve(self, port: int) -> None:
        self.machine.write("/etc/default/slapd", SERVICE.format(port=port))
        self.machine.run(["systemctl", "restart", "slapd"])

    def _forget(self) -> None:
        self.machine.run(
            "systemctl stop sssd && rm -f /var/lib/sss/db/* /var/lib/sss/mc/* && "
            "systemctl start sssd"
        )

    @contextmanager
    def down(self) -> Iterator[None]:
        """In this context the server is stopped, and nothing of it is cached."""
        self.machine.run(["systemctl", "stop", "slapd"])
        self._forget()
        try:
            yield
        finally:
            self.begin_afresh()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """In this context nothing of sssd runs; its cache has the accounts, and no groups."""
        self.begin_afresh()
        sockets = ["sssd-nss.socket", "sssd-pam.socket"]
        self.machine.run(["systemctl", "stop", *sockets, "sssd", "sssd-nss", "sssd-pam"])
        try:
            yield
        finally:
            self.machine.run(["systemctl", "start", *sockets])
            self.begin_afresh()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """In this context sssd is stopped by SIGSTOP and answers nobody; nothing is cached."""
        self._forget()
        # What answers begins with the first question.
        wait_until(lambda: self.knows(QUALIFIED.name), "an answer")
        self.machine.run(["systemctl", "kill", "--signal=STOP", "sssd-nss"])
        pid = ["systemctl", "show", "--value", "--property=MainPID", "sssd-nss"]
        status = f"/proc/{self.machine.run(pid).stdout.strip()}/status"
        wait_until(lambda: "State:\tT" in self.machine.read(status), "its stop")
        try:
            yield
        finally:
            self.machine.run(["systemctl", "kill", "--signal=CONT", "sssd-nss"], check=False)
            self.begin_afresh()

    @contextmanager
    def slow(self, seconds: float = 2) -> Iterator[None]:
        """In this context each answer of the server is so many seconds late; nothing is cached."""
        self.machine.write("/run/slow-proxy", PROXY.read_text(), mode=0o755)
        proxy = ["/run/slow-proxy", str(PORT), str(PORT + 1), str(seconds)]
        self._serve(PORT + 1)
        self.machine.run(["systemd-run", "--quiet", "--collect", f"--unit={SLOW}", *proxy])
        listening = ["ss", "-Hltn", f"sport = :{PORT}"]
        wait_until(lambda: self.machine.run(listening).stdout != "", "the slow directory")
        self._forget()
        # sssd answers that it knows nobody until it is connected.
        wait_until(lambda: self.knows(DOTTED.name), "the slow directory's answer")
        try:
            yield
        finally:
            self.machine.run(["systemctl", "stop", SLOW])
            self._serve(PORT)
            self.begin_afresh()

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """In this context the server does not answer at all; all answers come afterwards."""
        self.machine.run(["systemctl", "kill", "--signal=STOP", "slapd"])
        try:
            yield
        finally:
            self.machine.run(["systemctl", "kill", "--signal=CONT", "slapd"])


def write_entry(entry: Entry) -> str:
    """An account and its primary group, in LDIF."""
    name, _, domain = entry.name.partition("@")
    unit = "ad" if domain else "people"
    return f"""\
dn: uid={name},ou={unit},dc=example
objectClass: account
objectClass: posixAccount
uid: {name}
cn: {name}
uidNumber: {entry.uid}
gidNumber: {entry.uid}
homeDirectory: {entry.home}
loginShell: /bin/bash

{write_group(f"own-{entry.uid}", entry.uid, unit, [])}"""


def write_group(name: str, gid: int, unit: str, members: list[str]) -> str:
    """A group, in LDIF."""
    listed = "".join(f"memberUid: {member}\n" for member in members)
    return f"""\
dn: cn={name},ou={unit},dc=example
objectClass: posixGroup
cn: {name}
gidNumber: {gid}
{listed}
"""


def write_ldif() -> str:
    """Everything that the server holds."""
    units = ("people", "ad")
    numbers = [str(20200000 + number) for number in range(MEMBERS - 2)]
    return "".join(
        [
            "dn: dc=example\nobjectClass: domain\ndc: example\n\n",
            *(
                f"dn: ou={unit},dc=example\nobjectClass: organizationalUnit\nou: {unit}\n\n"
                for unit in units
            ),
            *map(write_entry, ENTRIES),
            write_group(GROUP, 30000, "people", [DOTTED.name, DIGITS.name, *numbers]),
            write_group(GROUP, 30001, "ad", ["jdoe"]),
            *(
                write_group(f"course-{number}", 31000 + number, "people", [DIGITS.name])
                for number in range(COURSES)
            ),
        ]
    )


LDIF = write_ldif()
