"""`OddNames`: accounts and groups with names as directories have them, in the machine's files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from system.mediator import Mediator

READ_BY_ALL = ("20150123", "AD\\jdoe", "ALL", "ZOE_1", "a=b", "!x", "(b)", "sha256", "x\\x41y")
READ_BY_LATER_SUDO_RS = ("jdoe@ad.example", "pöttering", "domain user", "zoe$", "_x")
"""sudo reads these, too; sudo-rs since version 0.2.9."""
READ_BY_SUDO_ALONE = ("d'Arc $(id)", "a*b", "a#b>c", "@x")
NAMES = (*READ_BY_ALL, *READ_BY_LATER_SUDO_RS, *READ_BY_SUDO_ALONE)
DIRECTIVES = ("Defaults", "User_Alias")
"""Names that begin a line of another kind, where they are the Hub's."""

# Accounts that a rule would be for where a name is cut short, or loses its backslash.
MISREAD = ("AD", "ADjdoe", "a", "d", "domain", "jdoe", "p", "x", "xx41y")
# Accounts that a rule for all would be for.
ORDINARY = ("zoe", "mal")
REQUEST = '{"action":"kill","pid":999999,"signal":0}'


class OddNames:
    """Each name is an account, and a group with one member: an account with an ordinary name."""

    def __init__(self, mediator: Mediator) -> None:
        """Use the machine of this mediator."""
        self.mediator = mediator
        self.machine = mediator.machine
        names = (*NAMES, *DIRECTIVES, *MISREAD)
        self.uids = {name: 3000 + place for place, name in enumerate(names)}
        self.members = {name: f"member-{place}" for place, name in enumerate(NAMES)}

    @contextmanager
    def installed(self) -> Iterator[OddNames]:
        """In this context the machine has them."""
        members = {name: 4000 + place for place, name in enumerate(self.members.values())}
        # No password, and so no line in the file for passwords.
        accounts = "".join(
            f"{name}:*:{uid}:{uid}::/tmp:/bin/sh\n" for name, uid in (self.uids | members).items()
        )
        groups = "".join(
            f"{name}:x:{self.gid(name)}:{member}\n" for name, member in self.members.items()
        )
        self.machine.run("for file in passwd group; do cp -a /etc/$file /etc/$file.before; done")
        try:
            self.machine.run("cat >>/etc/passwd", input=accounts)
            self.machine.run("cat >>/etc/group", input=groups)
            yield self
        finally:
            self.machine.run("for file in passwd group; do mv /etc/$file.before /etc/$file; done")

    def gid(self, name: str) -> int:
        """The number of the group of that name."""
        return self.uids[name] + 2000

    def list_targets(self, *names: str) -> list[str]:
        """Those of these accounts, and of others, that rhea may call the mediator as."""
        words = ["sh", "-c", self._for_each("", '"$name"'), "sh", *names, *find_others(*names)]
        return self.machine.run(words, user="rhea").stdout.splitlines()

    def list_callers(self, *names: str) -> list[str]:
        """Those of these accounts, and of others, that may call the mediator as zoe."""
        become = 'setpriv --reuid="$(id -u -- "$name")" --regid=65534 --clear-groups'
        others = ["rhea", *find_others(*names)]
        words = ["sh", "-c", self._for_each(become, "zoe"), "sh", *names, *others]
        return self.machine.run(words).stdout.splitlines()

    def _for_each(self, become: str, target: str) -> str:
        """A script that prints those of its arguments for which a harmless request is answered."""
        call = f"{become} sudo -nH -u {target} {self.mediator.path} >/dev/null 2>&1"
        return f"for name; do ! echo '{REQUEST}' | {call} || printf '%s\\n' \"$name\"; done"


def find_others(*names: str) -> list[str]:
    """The accounts that a rule for these names could be for by mistake."""
    misread = [
        other
        for other in MISREAD
        if any(name.startswith(other) or name.replace("\\", "") == other for name in names)
    ]
    return [other for other in (*misread, *ORDINARY) if other not in names]
