"""What is compared with ours: a Hub with batchspawner from PyPI, whose servers are jobs, too.

Its Hub calls sudo for Slurm's own programs, so this is what its sudoers has to permit.
"""

from __future__ import annotations

from machine.catalogue import cache_named
from machine.hub import Hub
from machine.machine import Machine
from machine.slurm_files import ADDRESS

RULES = "/etc/sudoers.d/batchspawner"
PROGRAMS = [f"/usr/bin/{name}" for name in ("sbatch", "squeue", "scancel")]
CONFIGURATION = """
import batchspawner
c.JupyterHub.hub_bind_url = "http://{address}:{hub_port}"
c.BatchSpawnerBase.batchspawner_singleuser_cmd = "{bin}/batchspawner-singleuser"
c.BatchSpawnerBase.req_nprocs = "1"
c.BatchSpawnerBase.req_memory = "64M"
c.BatchSpawnerBase.req_runtime = "20"
c.Spawner.cmd = ["{server}"]
"""


def permit_slurm(machine: Machine) -> None:
    """Let rhea call Slurm's programs as people with servers, with an environment of her own."""
    rule = f"rhea ALL=(%jupyterhub) NOPASSWD:SETENV: {', '.join(PROGRAMS)}\n"
    machine.write(RULES, rule, mode=0o440)
    machine.run(["visudo", "--check", "--file", RULES])


def make_batchspawner_hub(
    machine: Machine, server: str, *, port: int = 8080, configuration: str = ""
) -> Hub:
    """Return a Hub, not started, with batchspawner's defaults; `server` is a Python program.

    `configuration`: more lines for the Hub.
    """
    environment = cache_named("batchspawner")
    configuration = configuration + CONFIGURATION.format(
        address=ADDRESS, hub_port=port + 1, bin=environment.bin, server=server
    )
    spawner = "batchspawner.SlurmSpawner"
    return Hub(machine, environment, spawner=spawner, configuration=configuration, port=port)
