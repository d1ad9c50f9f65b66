"""What docs/kubernetes.md says to run, run as it stands there, without a cluster.

The image of the page is in test_images.py, what its pods may do in test_containers.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.catalogue import cache_named
from machine.installation import REPOSITORY, install_wheel
from machine.machine import Machine
from system.how_to import read_program, read_sections, run_section
from system.roothooks import read_status

BIN = "/usr/local/bin"
SERVER = f"{BIN}/jupyterhub-singleuser"
LOOKS = "#!/bin/sh\ncat /proc/self/status >/run/looks/{name}\n"
REPO = "/srv/repo"
BUCKET_HOOK = "/etc/roothooks.d/10-s3"
CERTIFICATE, KEY = "/usr/local/share/ca-certificates/amazon.crt", "/root/amazon.key"
# Amazon's addresses are the machine's own.
AMAZON = f"""\
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=s3.amazonaws.com \\
    -addext subjectAltName=DNS:s3.amazonaws.com,DNS:*.s3.amazonaws.com \\
    -keyout {KEY} -out {CERTIFICATE}
update-ca-certificates
echo "127.0.0.1 s3.amazonaws.com shared-data.s3.amazonaws.com" >>/etc/hosts
ip address add 169.254.169.254/32 dev lo
test -e /dev/fuse || mknod -m 666 /dev/fuse c 10 229
"""


@pytest.fixture(scope="module")
def bare_image() -> Iterator[Machine]:
    """A machine of this file's own, with our wheel."""
    with Machine() as machine:
        install_wheel(machine, cache_named("hub6"))
        yield machine


@pytest.fixture
def image(bare_image: Machine) -> Iterator[Machine]:
    """A machine that has what an image has: the program, a hook, and a server that looks."""
    machine = bare_image
    machine.run(["install", "-m", "0755", cache_named("hub6").bin / "jupyterhub-roothooks", BIN])
    machine.run("install -d -m 1777 /run/looks")
    machine.write(SERVER, LOOKS.format(name="server"), mode=0o755)
    machine.write("/etc/roothooks.d/01-look", LOOKS.format(name="hook"), mode=0o755)
    yield machine
    machine.run(f"rm -rf {BIN}/jupyterhub-roothooks {SERVER} /etc/roothooks.d {REPO} /run/looks")


def look(machine: Machine, name: str) -> tuple[str, bool]:
    """The uid of a hook or of the server, and whether it may do anything as root."""
    status = read_status(machine.read(f"/run/looks/{name}"))
    [uid] = set(status["Uid"].split())
    return uid, int(status["CapPrm"], 16) != 0


def test_the_commands_of_the_page_run_hooks_as_root_and_the_server_without(image: Machine) -> None:
    for section in read_sections(REPOSITORY / "docs/kubernetes.md"):
        run_section(section, image, env={})
    assert look(image, "hook") == ("0", True)
    assert look(image, "server") == ("1000", False)


def test_the_file_for_repo2docker_runs_the_hooks_of_the_repository(image: Machine) -> None:
    """repo2docker gives the repository to the user, whose uid is zoe's here."""
    image.write(f"{REPO}/start", read_program("kubernetes.md", "start"), mode=0o755)
    hook = LOOKS.format(name="theirs")
    image.write(f"{REPO}/roothooks.d/01-look", hook, owner="zoe", mode=0o755)
    image.run(["chown", "--recursive", "zoe:", REPO])
    image.run([f"{REPO}/start", "jupyterhub-singleuser"], env={"REPO_DIR": REPO})
    assert look(image, "theirs") == ("0", True)
    assert look(image, "server") == ("1000", False)


@pytest.fixture
def cloud(image: Machine) -> Iterator[Machine]:
    """The same, where a bucket is at Amazon's address, and the machine has a role."""
    image.run(f"dpkg --force-unsafe-io --install {cache_named('buckets').path}/*.deb")
    image.run(["sh", "-ec", AMAZON])
    program = "/opt/role_server.py"
    image.write(program, Path(__file__).with_name("role_server.py").read_text())
    serve = [cache_named("moto").bin / "python", program, CERTIFICATE, KEY]
    with image.start(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as serving:
        assert serving.stdout is not None and serving.stdout.readline()
        yield image
        image.run(["pkill", "s3fs"], check=False)
        image.run(["pkill", "--full", program])


def test_the_complete_hook_mounts_a_bucket_that_the_server_can_read_and_not_change(
    cloud: Machine,
) -> None:
    cloud.write(BUCKET_HOOK, read_program("kubernetes.md", BUCKET_HOOK), mode=0o755)
    server = "#!/bin/sh\ncat /mnt/data/notes\ntouch /mnt/data/more\n"
    cloud.write(SERVER, server, mode=0o755)
    words = ["jupyterhub-roothooks", "--hook-timeout=60", "--", "jupyterhub-singleuser"]
    ended = cloud.run(words, env={"NB_UID": "1000"}, check=False)
    assert "10-s3 finished with exit code 0" in ended.stderr
    assert ended.stdout == "for all", ended
    assert "Read-only file system" in ended.stderr
