"""The demo's mode with servers on the nodes of a cluster: what it needs, and what it shows."""

from __future__ import annotations

from machine.caches import Cache
from machine.cluster import Cluster
from machine.hub import Hub, HubError
from machine.kernel import Kernel
from machine.machine import Machine
from machine.modes import UserMode, show
from machine.slurm_files import ADDRESS, DEBUG

POLICY = f"""\
hub_users = ["rhea"]

[targets]
groups = ["jupyterhub"]

[server]
launcher = "slurm"

[slurm.profiles.small]
title = "Small: 1 core, 1 GiB, 1 hour"
cpus = 1
memory = "1G"
time = "1:00:00"

[slurm.profiles.big]
title = "Big: 4 cores, 3 GiB, half an hour"
cpus = 4
memory = "3G"
time = "30"
partition = "{DEBUG}"
"""
SCRIPT = "#!/bin/sh\nexec sleep 600\n"


class SlurmMode(UserMode):
    """User mode, where each server is a job of Slurm's on a node of a cluster."""

    cell = "a cell that tells its account and node"

    def __init__(self, port: int) -> None:
        """Have nodes reach the Hub, whose first port this is."""
        self.configuration = f"c.JupyterHub.hub_bind_url = 'http://{ADDRESS}:{port + 1}'\n"

    def install(self, machine: Machine, environment: Cache) -> None:
        """Install Slurm with two nodes, the rules and the policy."""
        Cluster(machine).install()
        super().install(machine, environment)
        machine.write("/etc/sudospawner/policy.toml", POLICY)

    def show_server(self, hub: Hub, user: str) -> None:
        """Print the policy, what the Hub's log says, the job as others see it, the processes."""
        machine = hub.machine
        show(f"/etc/sudospawner/policy.toml:\n\n{POLICY}")
        log = [line for line in hub.read_log().splitlines() if "its job " in line]
        show("the Hub's log:\n\n" + "\n".join(log))
        job = self._find_job(hub, user)
        seen = machine.run(["scontrol", "show", "job", job], user="wash").stdout
        lines = [line.strip() for line in seen.splitlines() if line.strip()]
        show(f"what wash sees of {user}'s job (scontrol show job {job}):\n\n" + "\n".join(lines))
        sbatch = ["sudo", "-nH", "-u", user, "sbatch"]
        refused = machine.run(sbatch, user="rhea", input=SCRIPT, check=False)
        if refused.returncode == 0:
            raise HubError("The Hub may run any job.")
        show(f"rhea, the Hub's account: {' '.join(sbatch)}\n\n{refused.stderr}")
        super().show_server(hub, user)

    def run_cell(self, kernel: Kernel, user: str) -> str:
        """Run a cell and return account and node; `HubError` if it is the wrong account."""
        look = "import getpass, socket; print(getpass.getuser(), 'on', socket.gethostname())"
        printed = kernel.run(look).strip()
        if printed not in (f"{user} on node1", f"{user} on node2"):
            raise HubError(f"The cell printed {printed!r}.")
        return printed

    def find_remains(self, machine: Machine, user: str) -> str:
        """Return remaining processes and jobs."""
        queue = machine.run(["squeue", "--all", "--noheader", f"--user={user}"]).stdout
        return super().find_remains(machine, user) + queue

    @staticmethod
    def _find_job(hub: Hub, user: str) -> str:
        state = (hub.find_server(user) or {}).get("state") or {}
        if "job" not in state:
            raise HubError(f"The Hub knows no job of {user}'s server.", hub.read_log())
        return str(state["job"])
