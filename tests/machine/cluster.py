"""`Cluster`: Slurm in one machine, with two nodes that have addresses of their own.

The machine itself is the submit host and has the controller. Each node is a slurmd in a network
namespace of its own, so what listens on a node is reached by the node's address alone. Nodes and
machine share all files, as a cluster shares its homes.
"""

from __future__ import annotations

import time
from pathlib import Path

from machine.catalogue import cache_named
from machine.machine import Machine, MachineError
from machine.slurm_files import CGROUPS, DEBUG, NETWORK, NODES, UNIT, configure

FOLDER = Path("/etc/slurm")


class Cluster:
    """Slurm in a machine: accounts of the machine are accounts of the cluster."""

    def __init__(self, machine: Machine, configuration: str = "") -> None:
        """Use this machine, and this `slurm.conf` or the usual one; `install` comes first."""
        self.machine = machine
        self._configuration = configuration or configure()

    def install(self) -> None:
        """Install Slurm from the cache, make the nodes, and start all of it."""
        archives = cache_named("slurm", self.machine.release).path
        # Nothing starts before it has its configuration.
        self.machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)
        self.machine.run(
            f"dpkg --force-unsafe-io --install {archives}/*.deb && rm /usr/sbin/policy-rc.d",
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )
        self.machine.write(FOLDER / "slurm.conf", self._configuration)
        self.machine.write(FOLDER / "cgroup.conf", CGROUPS[self.machine.release])
        self.machine.write("/etc/systemd/system/slurm-node@.service", UNIT)
        nodes = "".join(f"{node.name} {node.address}\n" for node in NODES)
        self.machine.run(["sh", "-ec", NETWORK], input=nodes)
        self.machine.run(["systemctl", "daemon-reload"])
        self.start()

    def start(self) -> None:
        """Start controller and nodes, and wait until both nodes are idle."""
        units = ["munge", "slurmctld", *(f"slurm-node@{node.name}" for node in NODES)]
        self.machine.run(["systemctl", "start", *units])
        self.wait_until_idle()

    def is_answering(self) -> bool:
        """Whether the controller answers."""
        return self.machine.run(["scontrol", "ping"], check=False).returncode == 0

    def list_states(self) -> dict[str, str]:
        """The state of each node, in sinfo's words: `idle`, `mixed`, `drained`, `down*`, …"""
        sinfo = ["sinfo", "--Node", "--noheader", f"--partition={DEBUG}"]
        words = [*sinfo, "--Format=NodeList,StateLong"]
        lines = self.machine.run(words, check=False).stdout.splitlines()
        return dict(line.split() for line in lines)

    def wait_until_idle(self, seconds: float = 120) -> None:
        """Wait until both nodes are there and no job runs; `MachineError` if that does not come."""
        idle = {node.name: "idle" for node in NODES}
        deadline = time.monotonic() + seconds
        while (states := self.list_states()) != idle:
            if time.monotonic() > deadline:
                raise MachineError(f"The nodes are not idle after {seconds} s: {states}")
            time.sleep(0.02)
