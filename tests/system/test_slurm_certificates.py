"""Certificates for servers on nodes: without them all can read what crosses the network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from machine.kernel import Kernel
from machine.slurm_files import ADDRESS, NODES
from system.files import FILES, PLACE, SECRET, list_folders
from system.mediator import wait_until
from system.slurm import Cluster
from system.slurm_hub import JobHub, install_for_jobs
from system.slurm_servers import PROFILE, JobMediator

SNIFFER = """\
#!/usr/bin/python3 -I
import socket, sys
ALL = 3
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
packets.bind(("eth0", ALL))
with open(sys.argv[1], "wb") as seen:
    while True:
        seen.write(packets.recv(65536))
        seen.flush()
"""
INTERNAL_SSL = """
c.JupyterHub.internal_ssl = True
c.JupyterHub.hub_bind_url = "https://{address}:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "https://127.0.0.1:{proxy_port}"
c.JupyterHub.trusted_alt_names = ["IP:{address}"]
"""
# The text is in no cell: only what the server answers has it.
CELL = "print('seen ' + 'on the way'.replace(' ', '-'))"
TEXT = "seen on-the-way"
END = b"the last packet"


@pytest.fixture(scope="module")
def installed(booted_cluster: Cluster) -> Cluster:
    """The cluster with our wheel, the rules and the policy of jobs."""
    install_for_jobs(booted_cluster, "hub6")
    booted_cluster.machine.write("/run/sniff", SNIFFER, mode=0o755)
    return booted_cluster


@contextmanager
def captured(cluster: Cluster) -> Iterator[None]:
    """In this context everything that comes to a node, or leaves it, is kept in a file."""
    machine = cluster.machine
    names = [node.name for node in NODES]
    for name in names:
        place = [f"--unit=sniff-{name}", f"--property=NetworkNamespacePath=/run/netns/{name}"]
        file = f"/run/seen-{name}"
        machine.run(["systemd-run", "--quiet", "--collect", *place, "/run/sniff", file])
        wait_until(lambda file=file: is_there(cluster, file), "the capture")
    try:
        yield
        for node in NODES:
            with machine.network(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(END, (node.address, 9))
            file = f"/run/seen-{node.name}"
            wait_until(lambda file=file: has(cluster, END.decode(), file), "the last packet")
    finally:
        machine.run(["systemctl", "stop", *(f"sniff-{name}" for name in names)])


def is_there(cluster: Cluster, file: str) -> bool:
    """Whether a file is there."""
    return cluster.machine.run(["test", "-e", file], check=False).returncode == 0


def has(cluster: Cluster, text: str, *files: str) -> bool:
    """Whether one of the captures has this text."""
    files = files or tuple(f"/run/seen-{node.name}" for node in NODES)
    return cluster.machine.run(["grep", "-qaF", text, *files], check=False).returncode == 0


def find_token(hub: JobHub) -> str:
    """The token of zoe's server, as its process has it."""
    [pid] = hub.machine.run(
        ["pgrep", "--uid", "zoe", "--full", "jupyterhub-singleuser"]
    ).stdout.split()
    variables = hub.machine.read(f"/proc/{pid}/environ").split("\0")
    [token] = [one for one in variables if one.startswith("JUPYTERHUB_API_TOKEN=")]
    return token.partition("=")[2]


def find_key(cluster: Cluster) -> str:
    """A part of the key of the only server; empty if it has none."""
    folders = list_folders(cluster.machine)
    keys = [cluster.machine.read(f"{folder}/server.key").splitlines() for folder in folders]
    return keys[0][1] if keys else ""


@pytest.mark.parametrize("internal_ssl", [False, True], ids=["plain", "internal_ssl"])
def test_what_a_cell_prints_and_the_token_cross_the_network_in_clear_only_without_certificates(
    cluster: Cluster, installed: Cluster, internal_ssl: bool
) -> None:
    hub = JobHub(installed)
    if internal_ssl:
        hub._more += INTERNAL_SSL.format(
            address=ADDRESS, hub_port=hub.port + 1, proxy_port=hub.port + 2
        )
    hub.remove_server()
    with hub, captured(installed):
        hub.start_server("zoe")
        host = hub.find_server("zoe")["state"]["host"]
        assert host in [node.address for node in NODES]
        with Kernel(hub, "zoe") as kernel:
            assert kernel.run(CELL) == f"{TEXT}\n"
        token, key = find_token(hub), find_key(installed)
        number = hub.find_job("zoe")
        assert bool(key) is internal_ssl
        hub.stop_server("zoe")
        installed.wait_for_end(number)
    assert list_folders(installed.machine) == []
    assert [has(installed, TEXT), has(installed, token)] == [not internal_ssl] * 2
    assert not key or not has(installed, key)


def test_without_munge_no_key_is_sent_to_a_node(jobs: JobMediator) -> None:
    machine = jobs.machine
    machine.run(["mv", "/usr/bin/munge", "/usr/bin/munge.away"])
    try:
        refused = jobs.spawn("serve", "{port}", files=FILES)
        assert (refused.reply["code"], refused.status) == ("slurm_unavailable", 0)
        assert "munge is not installed" in refused.reply["error"]
        spawned = jobs.spawn("serve", "{port}")
        assert spawned.reply["ok"], spawned
        jobs.stop(spawned)
    finally:
        machine.run(["mv", "/usr/bin/munge.away", "/usr/bin/munge"])


def test_a_servers_files_are_written_on_its_node_and_gone_with_its_job(jobs: JobMediator) -> None:
    machine = jobs.machine
    jobs.set_policy(PROFILE + f"nodelist = '{NODES[0].name}'\n")
    env = {"JUPYTERHUB_SSL_KEYFILE": "{files}/server.key"}
    spawned = jobs.spawn("serve", "{port}", env=env, files=FILES)
    assert spawned.reply["ok"], spawned
    # Slurm sends the script over the network as it is, and others can do nothing with it.
    script = machine.run(["scontrol", "write", "batch_script", spawned.reply["job"], "-"]).stdout
    sealed = next(line for line in script.splitlines() if line.startswith("MUNGE:"))
    opened = machine.run(["unmunge"], input=sealed, user="mal", check=False)
    assert (opened.returncode != 0, SECRET in opened.stdout) == (True, False)
    [folder] = list_folders(machine)
    begin = f"{PLACE}/files-{NODES[0].name}-"
    assert folder.startswith(begin)
    assert machine.read(f"{folder}/server.key") == FILES["server.key"]
    # What a server on this node has left, and the files of one that runs on another node.
    left, other = begin + "0123456789abcdef", f"{PLACE}/files-node2-0123456789abcdef"
    for place in (left, other):
        machine.run(["install", "-d", "-o", "zoe", "-m", "0700", place])
    again = jobs.spawn("serve", "{port}", files=FILES, server_name="b")
    assert again.reply["ok"], again
    folders = list_folders(machine)
    assert (left in folders, other in folders, len(folders)) == (False, True, 3)
    for answer, name in ((spawned, ""), (again, "b")):
        assert jobs.stop(answer, server_name=name)["alive"] is False
    machine.run(["rm", "-r", other])
    wait_until(lambda: list_folders(machine) == [], "the end of the files")
