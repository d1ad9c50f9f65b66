"""The Dockerfiles of this repository, built by buildah and run by runc, without a network.

What `FROM` names is Debian as the image of that name has it, with Node.js and Python; everything
after that line is done as it is written.
"""

from __future__ import annotations

import http.cookiejar
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from machine.catalogue import cache_named
from machine.hub import Hub, HubError
from machine.installation import REPOSITORY
from machine.kernel import Kernel
from machine.machine import Machine
from system.bundle import Bundle, SecurityContext
from system.how_to import read_blocks
from system.images import CONTEXT, Image, boot_builder, build, make_base, open_image, read_base
from system.mediator import wait_until
from system.pods import ALL, LOOK, NONE, PAGE, take_outcome

DOCKERFILE = (REPOSITORY / "examples/docker/Dockerfile").read_text()
BASE = f"docker.io/library/{read_base(DOCKERFILE)}"


@pytest.fixture(scope="module")
def builder() -> Iterator[Machine]:
    """A node with the image that the Dockerfile starts from."""
    with boot_builder() as machine:
        make_base(machine, BASE)
        yield machine


@pytest.fixture(scope="module")
def hub_image(builder: Machine) -> str:
    """The name of the image of examples/docker, which is built."""
    for file in (REPOSITORY / "examples/docker").iterdir():
        builder.write(f"{CONTEXT}/examples/docker/{file.name}", file.read_bytes())
    build(builder, DOCKERFILE, "jupyterhub-sudo")
    return "jupyterhub-sudo"


@pytest.fixture
def image(builder: Machine, hub_image: str) -> Image:
    """Its files, as a new container has them."""
    return open_image(builder, hub_image)


@contextmanager
def run_hub(machine: Machine, image: Image, context: SecurityContext) -> Iterator[Hub]:
    """Run the image's command as its user, and yield the Hub, for which nobody has a token yet."""
    user = image.config["User"]
    ids = machine.run(
        ["chroot", image.root, "sh", "-c", f"id -u {user}; id -g {user}; id -G {user}"]
    )
    uid, gid, groups = ([int(word) for word in line.split()] for line in ids.stdout.splitlines())
    # A runtime gives the user of an image the groups that the image says.
    context = replace(
        context, run_as_user=uid[0], run_as_group=gid[0], supplemental_groups=tuple(groups)
    )
    process = {"cwd": image.config["WorkingDir"], "env": image.config["Env"]}
    bundle = Bundle(machine, image.root, process, host_network=True)
    command = bundle.write(image.config["Cmd"], context)
    hub = Hub(machine, cache_named("hub6"), port=8000)
    log = "/run/hub.log"
    container = machine.start(["sh", "-c", f'exec "$@" >{log} 2>&1', "sh", *command])
    try:
        wait_until(lambda: container.poll() is not None or answers(hub), "the Hub", 120)
        assert container.poll() is None, machine.read(log)
        yield hub
    finally:
        machine.run(["runc", "kill", command[-1], "TERM"], check=False)
        container.wait(120)


def answers(hub: Hub) -> bool:
    """Whether the Hub's API answers."""
    try:
        return "version" in hub.request("GET", "/hub/api/")
    except (HubError, OSError):
        return False


class Visitor:
    """A browser without a screen: it keeps cookies."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._cookies = http.cookiejar.CookieJar()
        handler = urllib.request.HTTPCookieProcessor(self._cookies)
        self._opener = urllib.request.build_opener(handler)

    def send(self, path: str, data: bytes | None = None, **headers: str) -> bytes:
        """Get a page, or post to it."""
        request = urllib.request.Request(self._hub.url + path, data, headers)
        with self._hub.machine.network(), self._opener.open(request, timeout=120) as answer:
            return bytes(answer.read())

    def show_page(self, path: str) -> str:
        """Get a page, and return the token that a post from there needs."""
        self.send(path)
        [token] = {str(cookie.value) for cookie in self._cookies if cookie.name == "_xsrf"}
        return token

    def log_in(self, name: str, password: str) -> None:
        """Send the Hub's form; `HTTPError` 403 if name or password is wrong."""
        form = {"username": name, "password": password, "_xsrf": self.show_page("/hub/login")}
        self.send("/hub/login?next=/hub/home", urllib.parse.urlencode(form).encode())

    def take_token(self, name: str) -> str:
        """A token of the Hub's API, for the account that is logged in."""
        headers = {"X-XSRFToken": self.show_page("/hub/token"), "Content-Type": "application/json"}
        answer = self.send(f"/hub/api/users/{name}/tokens", b"{}", **headers)
        return str(json.loads(answer)["token"])


CELL = "import getpass, os; print(getpass.getuser(), os.getresuid(), os.stat('/proc/1').st_uid)"


def test_io_logs_in_to_the_docker_image_and_runs_a_cell(builder: Machine, image: Image) -> None:
    """The Hub is rhea's and the server io's, with Docker's capabilities and filter."""
    rhea, io = (
        int(builder.run(["chroot", image.root, "id", "-u", name]).stdout) for name in ("rhea", "io")
    )
    with run_hub(builder, image, SecurityContext()) as hub:
        visitor = Visitor(hub)
        visitor.log_in("io", "io")
        hub.token = visitor.take_token("io")
        hub.start_server("io")
        with Kernel(hub, "io") as kernel:
            assert kernel.run(CELL) == f"io ({io}, {io}, {io}) {rhea}\n"
        hub.stop_server("io")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            Visitor(hub).log_in("io", "wrong")


def test_the_docker_image_says_why_no_server_starts_without_new_privileges(
    builder: Machine, image: Image
) -> None:
    """As `--security-opt no-new-privileges` and `allowPrivilegeEscalation: false` have it."""
    context = SecurityContext(allow_privilege_escalation=False)
    with run_hub(builder, image, context) as hub:
        visitor = Visitor(hub)
        visitor.log_in("io", "io")
        hub.token = visitor.take_token("io")
        with pytest.raises(HubError) as failure:
            hub.start_server("io")
        assert "allowPrivilegeEscalation: false" in str(failure.value)


# What docs/kubernetes.md relies on in the image that it starts from.
BASE_NOTEBOOK = """
FROM {base}
RUN useradd --uid 1000 --gid users --create-home --shell /bin/bash jovyan
ENV NB_USER=jovyan NB_UID=1000 NB_GID=100 HOME=/home/jovyan PATH=/opt/hub6/bin:/usr/bin:/bin
WORKDIR /home/jovyan
USER 1000
CMD ["start-notebook.py"]
"""


@pytest.fixture(scope="module")
def pod_image(builder: Machine) -> Image:
    """The image of docs/kubernetes.md."""
    [dockerfile] = read_blocks("kubernetes.md", "dockerfile")
    build(builder, BASE_NOTEBOOK.format(base=BASE), read_base(dockerfile))
    builder.write(f"{CONTEXT}/roothooks.d/01-look", LOOK)
    build(builder, dockerfile, "pod")
    return open_image(builder, "pod")


def test_the_image_of_the_page_does_in_the_pod_of_the_page_what_it_says(
    builder: Machine, pod_image: Image
) -> None:
    config = pod_image.config
    process = {"cwd": config["WorkingDir"], "env": config["Env"]}
    bundle = Bundle(builder, pod_image.root, process)
    context = SecurityContext(drop=ALL, add=PAGE, allow_privilege_escalation=False)
    # What KubeSpawner has as its cmd comes in place of the image's.
    hook, command = take_outcome(
        bundle.run([*config["Entrypoint"], "cat", "/proc/self/status"], context)
    )[1:]
    assert hook is not None and command is not None
    assert (hook.uid, hook.capabilities) == (0, PAGE)
    assert command[:5] == (1000, 100, (100,), NONE, NONE)
    script = 'pwd; echo "$HOME $USER"; ps --pid 1 --format comm='
    ended = bundle.run([*config["Entrypoint"], "sh", "-c", script], context)
    said = [line for line in ended.stdout.splitlines() if not line.startswith("hook ")]
    assert said == ["/home/jovyan", "/home/jovyan jovyan", "jupyterhub-root"]
    ended = bundle.run([*config["Entrypoint"], *config["Cmd"], "--version"], context)
    assert ended.returncode == 0, ended
