"""Homes on file servers, and a mediator in each mode to start servers in them."""

from __future__ import annotations

import shlex

from machine.machine import Machine
from system.mediator import Mediator, RootMediator, wait_until
from system.units import UnitMediator

HOME = "/home/zoe"
# What the file servers serve.
SOURCE = "/srv/homes/zoe"
# Where the kernel tells what FUSE daemons have not answered yet.
CONNECTIONS = "/run/fuse-connections"
# Nothing is cached, so that each look at a home is a question to its server.
UNCACHED = "nonempty,attr_timeout=0,entry_timeout=0,negative_timeout=0"


def set_server(mediator: Mediator, line: str) -> None:
    """Have the policy say this of the server, in any mode."""
    launcher = "systemd" if isinstance(mediator, UnitMediator) else "process"
    mediator.machine.write(
        RootMediator.POLICY,
        'hub_users = ["rhea"]\n[targets]\ngroups = ["jupyterhub"]\n'
        f'[server]\nlauncher = "{launcher}"\n{line}\n',
    )


def prepare_fuse(machine: Machine) -> None:
    """Have a device for FUSE in the machine, and a folder to serve that is zoe's."""
    machine.run("test -e /dev/fuse || mknod -m 666 /dev/fuse c 10 229")
    mount = f"mkdir -p {CONNECTIONS} && mount -t fusectl fusectl {CONNECTIONS}"
    machine.run(f"mountpoint -q {CONNECTIONS} || ({mount})")
    machine.run(["install", "-d", "-m", "0700", "-o", "zoe", "-g", "zoe", SOURCE])


def wait_for_the_end(mediator: Mediator) -> None:
    """Wait until no process of zoe's is left."""
    wait_until(lambda: mediator.list_processes() == [], "the end of zoe's processes")


def find_mounts(machine: Machine, place: str) -> list[str]:
    """The types of the file systems that are mounted there; does not touch them."""
    mounts = machine.read("/proc/1/mounts").splitlines()
    return [line.split()[2] for line in mounts if line.split()[1] == place]


class FileServer:
    """zoe's home on a file server that can stop answering: bindfs, with another one as its client.

    What the client has asked for stays asked, whatever signal comes: nobody can kill a process that
    waits for it. Without a client (`is_killable`), the kernel itself asks, and takes the question
    back when the process is killed.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        home: str = HOME,
        source: str = SOURCE,
        is_killable: bool = False,
    ) -> None:
        """Mount the home, or whatever is at `source`."""
        self.machine = machine
        self._source = source
        prepare_fuse(machine)
        place = home if is_killable else "/srv/served/zoe"
        machine.run(["mkdir", "--parents", place])
        self._places = [place]
        self._server = self._serve(source, place)
        if not is_killable:
            self._serve(place, home)
            self._places.insert(0, home)

    def _serve(self, source: str, place: str) -> str:
        # With one thread, only the first of those who wait would be out of reach.
        self.machine.run(["bindfs", "--multithreaded", "-o", UNCACHED, source, place])
        words = f"^bindfs .* {source} {place}$"
        return self.machine.run(["pgrep", "--full", words]).stdout.strip()

    def stop(self) -> None:
        """Have it answer nothing any more."""
        self.machine.run(["kill", "-STOP", self._server])
        status = ["grep", "-q", "^State:\tT", f"/proc/{self._server}/status"]
        wait_until(
            lambda: self.machine.run(status, check=False).returncode == 0,
            "the stop of the file server",
        )

    def resume(self) -> None:
        """Have it answer again, first of all what it was asked in the meantime."""
        self.machine.run(["kill", "-CONT", self._server])

    def is_waited_for(self) -> bool:
        """Whether somebody has asked for something that has no answer.

        The kernel shows the connections of all machines; a mount's has its device number.
        """
        mounts = [line.split() for line in self.machine.read("/proc/1/mountinfo").splitlines()]
        devices = [words[2].split(":")[1] for words in mounts if words[4] in self._places]
        files = [f"{CONNECTIONS}/{device}/waiting" for device in devices]
        return any(n != "0" for n in self.machine.run(["cat", *files]).stdout.split())

    def unmount(self) -> None:
        """Take the home away, and what is left of what happened in it."""
        self.resume()
        for place in self._places:
            self.machine.run(["umount", "--lazy", place])
        bindfs = ["pgrep", "bindfs"]
        wait_until(
            lambda: self.machine.run(bindfs, check=False).stdout == "", "the end of the daemons"
        )
        self.machine.run(f"find {shlex.quote(self._source)} -mindepth 1 -delete")
