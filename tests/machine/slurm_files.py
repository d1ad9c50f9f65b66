"""What makes a cluster of one machine: its nodes, its network, and Slurm's configuration."""

from __future__ import annotations

from typing import NamedTuple


class Node(NamedTuple):
    """A node of the cluster: its name, also in its own eyes, and where it is reached."""

    name: str
    address: str


NODES = (Node("node1", "10.20.0.1"), Node("node2", "10.20.0.2"))
# The machine as the nodes reach it: what a Hub has as its `hub_connect_ip`.
ADDRESS = "10.20.0.254"
BRIDGE = "slurm0"
PORT = 6817

# How long a job may still run after SIGTERM.
KILL_WAIT = 2
# For how long Slurm keeps what is known of a job that has ended.
MIN_JOB_AGE = 300
# A partition for the group jupyterhub, one for everybody, and one whose jobs go first.
PARTITION = "jupyter"
DEBUG = "debug"
URGENT = "urgent"
CPUS = 4
MEMORY = 4096

# Nothing waits for a plugin of memory or of CPUs: what a job asks for is counted, and not enforced.
CONFIGURATION = f"""\
ClusterName=test
SlurmctldHost=machine({ADDRESS})
SlurmctldPort={{port}}
SlurmUser=slurm
AuthType=auth/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmctldPidFile=/run/slurmctld.pid
SlurmdSpoolDir=/var/lib/slurm/%n
SlurmdPidFile=/run/slurmd-%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
MpiDefault=none
ReturnToService=2
MinJobAge={MIN_JOB_AGE}
KillWait={KILL_WAIT}
SlurmdTimeout=300
NodeName={NODES[0].name} NodeAddr={NODES[0].address} CPUs={{cpus}} RealMemory={{memory}}
NodeName={NODES[1].name} NodeAddr={NODES[1].address} CPUs={{cpus}} RealMemory={{memory}}
PartitionName={PARTITION} Nodes=ALL Default=YES AllowGroups=jupyterhub DefaultTime=60 MaxTime=1440 \
DefMemPerCPU=256
PartitionName={DEBUG} Nodes=ALL DefaultTime=10 MaxTime=30 DefMemPerCPU=256
PartitionName={URGENT} Nodes=ALL DefaultTime=10 MaxTime=30 DefMemPerCPU=256 PriorityTier=10
"""


def configure(*, port: int = PORT, cpus: int = CPUS, memory: int = MEMORY) -> str:
    """Return Slurm's configuration, with this port of the controller, and nodes of this size.

    Slurm does not look whether a node has as many cores and as much memory in MiB.
    """
    return CONFIGURATION.format(port=port, cpus=cpus, memory=memory)


# 22.05 has no plugin that leaves control groups alone. Its others do nothing before they are asked.
CGROUPS = {13: "CgroupPlugin=disabled\n", 12: "CgroupPlugin=cgroup/v1\n"}

# A node ends with all that runs on it, which Debian's own unit of slurmd does not say.
UNIT = """\
[Unit]
Description=Slurm's node %i
[Service]
NetworkNamespacePath=/run/netns/%i
ExecStart=unshare --uts sh -c 'hostname %i && exec slurmd -D -N %i'
Delegate=yes
TasksMax=infinity
LimitMEMLOCK=infinity
"""
NETWORK = f"""\
ip link add {BRIDGE} type bridge
ip addr add {ADDRESS}/24 dev {BRIDGE}
ip link set {BRIDGE} up
while read name address; do
    ip netns add $name
    ip link add $name type veth peer name eth0 netns $name
    ip link set $name master {BRIDGE} up
    ip -n $name addr add $address/24 dev eth0
    ip -n $name link set eth0 up
    ip -n $name link set lo up
    echo "$address $name" >>/etc/hosts
done
"""
