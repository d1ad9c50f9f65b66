"""Real Hubs with `internal_ssl`: proxy, Hub and servers speak TLS, and believe no one else."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from machine.catalogue import cache_named
from machine.hub import Hub
from machine.installation import install_sudoers
from machine.kernel import Kernel
from machine.machine import Machine
from system.browser import log_in, run_a_cell_and_stop
from system.files import find_folder, find_secret, list_folders
from system.mediator import Answer, wait_until

POLICY = "/etc/sudospawner/policy.toml"
PUBLIC = "hub.example.org"
PORT = 8080
CONFIGURATION = f"""
c.JupyterHub.internal_ssl = True
c.JupyterHub.hub_bind_url = "https://127.0.0.1:{PORT + 1}"
c.ConfigurableHTTPProxy.api_url = "https://127.0.0.1:{PORT + 2}"
c.JupyterHub.trusted_alt_names = ["DNS:{PUBLIC}"]
# The request returns at once, so that several starts can be watched.
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
# An impostor that listens is given up soon, and a slow computer's server is not.
def be_impatient(spawner):
    import os
    if os.path.exists(spawner.sudospawner_path + "-singleuser"):
        spawner.http_timeout = 5
c.Spawner.pre_spawn_hook = be_impatient
"""
TARGETS = 'hub_users = ["rhea"]\n[targets]\ngroups = ["jupyterhub"]\n[server]\n'
# The version of JupyterHub, the mode, and the launcher.
HUBS = [("hub6", "user", "process"), ("hub4", "root", "process"), ("hub6", "root", "systemd")]

# A process of wash's that connects to a server of zoe's, and has no certificate.
CONNECT = """
import socket, ssl, sys
context = ssl._create_unverified_context()
try:
    with context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1])))) as server:
        print(server.version())
        server.sendall(b"GET /user/zoe/api HTTP/1.0\\r\\n\\r\\n")
        print(server.recv(100) or "refused")
except OSError:
    print("refused")
"""

# What zoe starts listens without TLS, and what wash starts with a certificate that he has made.
IMPOSTOR = """\
#!{bin}/python
import getpass, os, socket, ssl, tempfile, urllib.parse
from certipy import Certipy
url = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
listener = socket.create_server((url.hostname, url.port))
context = None
if getpass.getuser() == "wash":
    own = Certipy(store_dir=tempfile.mkdtemp())
    files = own.create_ca("own", alt_names=["IP:127.0.0.1"])["files"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["cert"], files["key"])
while True:
    connection, _ = listener.accept()
    connection.settimeout(60)
    with open(os.path.expanduser("~/heard"), "ab") as heard, connection:
        try:
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            heard.write(connection.recv(4096) + b"|")
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nOK")
        except OSError as error:
            heard.write(b"refused|")
"""


@pytest.fixture(scope="module", params=HUBS, ids=["-".join(words) for words in HUBS])
def running_hub(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Hub]:
    """A Hub with internal_ssl."""
    version, mode, launcher = request.param
    environment = cache_named(version)
    own_rules = machine.read("/etc/sudoers.d/sudospawner")
    install_sudoers(machine, environment, fragment=f"sudospawner-{mode}-mode")
    machine.write(POLICY, f'{TARGETS}launcher = "{launcher}"\n')
    configuration = f'{CONFIGURATION}c.SudoSpawner.mode = "{mode}"\n'
    try:
        with Hub(machine, environment, configuration=configuration, port=PORT) as hub:
            yield hub
    finally:
        machine.run(["rm", "-r", "/etc/sudospawner"])
        machine.write("/etc/sudoers.d/sudospawner", own_rules, mode=0o440)


@pytest.fixture
def hub(running_hub: Hub) -> Iterator[Hub]:
    """The Hub; no server, and nothing of one's files, is there before or after a test."""
    yield running_hub
    running_hub.stop_all_servers()
    wait_until(lambda: list_folders(running_hub.machine) == [], "the end of all files")


def find_own_folder(hub: Hub, user: str) -> str:
    """The folder of a running server's files."""
    return find_folder(hub.machine, Answer({"pid": hub.find_pid(user)}, [], 0, ""))


def ask_as(hub: Hub, host: str) -> int:
    """The status that a browser gets from zoe's server, if it knows the Hub by this name."""
    request = urllib.request.Request(f"{hub.url}/user/zoe/api", headers={"Host": host})
    try:
        with hub.machine.network(), urllib.request.urlopen(request, timeout=120) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_server_is_reached_by_tls_and_its_key_is_seen_by_nobody(hub: Hub) -> None:
    machine = hub.machine
    hub.start_server("zoe")
    folder = find_own_folder(hub, "zoe")
    look = "import os; print(os.environ['JUPYTERHUB_SERVICE_URL'].split('/')[2])"
    with Kernel(hub, "zoe") as kernel:
        address = kernel.run(look).strip()
    port = address.rpartition(":")[2]
    command = ["python3", "-c", CONNECT, port]
    # By TLS 1.3 the server speaks first, and then has no certificate from him.
    assert machine.run(command, user="wash").stdout == "TLSv1.3\nrefused\n"
    for other in ("wash", "rhea"):
        seen = machine.run(["cat", f"{folder}/server.key"], user=other, check=False, cwd="/")
        assert (seen.returncode, seen.stdout) == (1, "")
    key = machine.read(f"{folder}/server.key").splitlines()
    assert len(key) > 20
    assert find_secret(machine, key[1]) == ""
    # The proxy compares the name by which the browser knows the Hub with the certificate.
    assert [ask_as(hub, host) for host in (PUBLIC, "other.example.org")] == [200, 503]

    hub.restart()
    with Kernel(hub, "zoe") as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    hub.stop_server("zoe")
    assert list_folders(machine) == []


@pytest.mark.parametrize("running_hub", HUBS[:1], indirect=True)
def test_zoe_runs_a_cell_in_jupyterlab_and_stops_her_server(hub: Hub, page: Page) -> None:
    log_in(page, hub, "zoe", "/hub/spawn")
    code = (
        "import os; key = os.environ['JUPYTERHUB_SSL_KEYFILE']; "
        "print(os.environ['JUPYTERHUB_SERVICE_URL'][:6], oct(os.stat(key).st_mode))"
    )
    run_a_cell_and_stop(page, hub.url, code, "https: 0o100600")
    hub.wait_until_gone("zoe")
    assert list_folders(hub.machine) == []


@pytest.mark.parametrize("running_hub", HUBS[:2], indirect=True)
def test_a_server_without_the_hubs_certificate_is_not_believed(hub: Hub) -> None:
    machine = hub.machine
    place = hub.environment.bin / "sudospawner-singleuser"
    machine.write(place, IMPOSTOR.format(bin=hub.environment.bin), mode=0o755)
    try:
        # The Hub has no progress to tell while it stops a server that failed to start, so each is
        # watched from its start.
        for user in ("zoe", "wash"):
            hub.request("POST", f"/hub/api/users/{user}/server")
            events = list(hub.follow_progress(user))
            assert events[-1].get("failed"), events
            hub.wait_until_gone(user)
    finally:
        machine.run(["rm", place])
    heard = {user: machine.run(["cat", f"/home/{user}/heard"]).stdout for user in ("zoe", "wash")}
    machine.run(["rm", "/home/zoe/heard", "/home/wash/heard"])
    # To both the Hub has begun to speak TLS, and neither has had a request.
    assert heard["zoe"].startswith("\x16\x03")
    assert "refused|" in heard["wash"]
    assert not any(word in text for text in heard.values() for word in ("GET", "HTTP", "token"))
