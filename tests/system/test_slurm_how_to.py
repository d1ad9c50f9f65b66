"""What docs/slurm.md says, done as it stands there, leads to a server on a node."""

from __future__ import annotations

import re

from machine.catalogue import cache_named
from machine.installation import REPOSITORY, install_sudoers, install_wheel
from machine.kernel import Kernel
from machine.slurm_files import ADDRESS
from system.how_to import Section, read_sections, run_section
from system.slurm import Cluster
from system.slurm_hub import JobHub

PAGE = read_sections(REPOSITORY / "docs/slurm.md")
# The page's Hub listens where the tests' Hub does.
PORTS = 'c.JupyterHub.hub_bind_url = ""\nc.JupyterHub.hub_port = {port}\n'


def put_places(text: str, place: str) -> str:
    """The page's text with the machine's own places."""
    return text.replace("/opt/jupyterhub", place).replace("hub.cluster.example", ADDRESS)


class PageHub(JobHub):
    """A Hub that is configured as the page says."""

    def use(self, configuration: str) -> None:
        """Use these lines."""
        self._more = configuration + PORTS.format(port=self.port + 1)


def test_the_page_leads_from_a_cluster_to_a_server_on_a_node(cluster: Cluster) -> None:
    hub6 = cache_named("hub6")
    install_wheel(cluster.machine, hub6)
    install_sudoers(cluster.machine, hub6)
    configuration = ""
    for section in PAGE:
        text = put_places(section.text, str(hub6.path))
        own = Section(section.heading, text)
        run_section(own, cluster.machine, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        if section.heading == "The Hub":
            [configuration] = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert "SudoSpawner" in configuration
    hub = PageHub(cluster)
    hub.use(configuration)
    hub.remove_server()
    with hub:
        hub.start_server("zoe")
        job = cluster.look_up(hub.find_job("zoe"))
        assert (job.state, job.name) == ("RUNNING", "sudospawner")
        with Kernel(hub, "zoe") as kernel:
            assert kernel.run("import socket; print(socket.gethostname())") == f"{job.host}\n"
        hub.stop_server("zoe")
