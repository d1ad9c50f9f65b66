"""Images that buildah builds in a node without a network, as a person builds them with Docker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from machine.catalogue import cache_named
from machine.installation import find_wheel
from machine.machine import Machine
from system.bundle import ROOT, boot_node

LAYERS = "/var/lib/containers/storage/overlay"
CONTEXT = "/root/context"
WHEELS = f"{CONTEXT}/target/wheels"

# buildah looks for what makes networks, netavark, even if each step is in the machine's network.
# Nothing calls it then; if something did, /bin/false in its place would fail. Without these limits,
# steps would have higher ones, which a computer that is a container itself cannot set.
SETTINGS = """
[containers]
netns = "host"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
helper_binaries_dir = ["/opt/helpers"]
"""


class Image(NamedTuple):
    """An image: where its files are, and the configuration that is in it."""

    root: str
    config: dict[str, Any]


@contextmanager
def boot_builder() -> Iterator[Machine]:
    """A node where buildah works, and where pip and npm find what they would fetch."""
    with boot_node() as machine:
        machine.write("/etc/containers/containers.conf.d/tests.conf", SETTINGS)
        machine.run("mkdir /opt/helpers && ln -s /bin/false /opt/helpers/netavark")
        # buildah's overlays cannot lie on the machine's root, which is one.
        machine.run("mkdir /var/lib/containers && mount -t tmpfs tmpfs /var/lib/containers")
        downloads = cache_named("downloads").path
        places = f"{downloads}/wheels {WHEELS}"
        machine.write("/opt/pip.conf", f"[global]\nno-index = true\nfind-links = {places}\n")
        machine.write("/opt/npmrc", f"offline = true\ncache = {downloads}/npm\n")
        wheel = find_wheel()
        machine.write(f"{WHEELS}/{wheel.name}", wheel.read_bytes())
        yield machine


def make_base(machine: Machine, name: str) -> None:
    """Make the image of that name whose files are those at ROOT.

    It is committed without files, and ROOT then takes the place of its empty layer: a copy would
    take gigabytes of memory.
    """
    machine.run(["buildah", "from", "--name=empty", "scratch"])
    machine.run(["buildah", "commit", "--quiet", "--rm", "empty", name])
    machine.run(f"rmdir {LAYERS}/*/diff && ln -s {ROOT} $(dirname {LAYERS}/*/empty)/diff")


def read_base(dockerfile: str) -> str:
    """The image that a Dockerfile starts from."""
    [name] = re.findall(r"^FROM (\S+)$", dockerfile, re.MULTILINE)
    return str(name)


def build(machine: Machine, dockerfile: str, name: str) -> None:
    """Build an image in CONTEXT; `MachineError` for a step that fails."""
    volumes = {"/opt/pip.conf": "/etc/pip.conf", "/opt/npmrc": "/root/.npmrc", WHEELS: WHEELS}
    machine.run(
        [
            *("buildah", "build", "--isolation=oci", "--pull=never", "--quiet"),
            *(f"--volume={source}:{place}:ro" for source, place in volumes.items()),
            *(f"--tag={name}", "--file=-", CONTEXT),
        ],
        input=dockerfile,
        timeout=1200,
    )


def open_image(machine: Machine, name: str) -> Image:
    """Lay the files of an image out for a container, which may write to them."""
    container = machine.run(["buildah", "from", "--pull=never", name]).stdout.strip()
    root = machine.run(["buildah", "mount", container]).stdout.strip()
    described = json.loads(machine.run(["buildah", "inspect", "--type=image", name]).stdout)
    return Image(root, described["OCIv1"]["config"])
