"""`Hub`: a real JupyterHub in the test machine, run as rhea by systemd, and its REST API."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

from machine.caches import Cache
from machine.catalogue import cache_named
from machine.machine import Machine

USER = "rhea"
PASSWORD = "serenity"

CONFIGURATION = """\
c = get_config()  # noqa
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allowed_users = {{"zoe", "wash", "nohome", "mal"}}
c.Authenticator.admin_users = {{"rhea"}}
c.JupyterHub.spawner_class = "{spawner}"
c.JupyterHub.allow_named_servers = True
# Servers outlive a restart of the Hub.
c.JupyterHub.cleanup_servers = False
# The Hub notices the end of a server soon.
c.Spawner.poll_interval = 2
# A slow computer is no failure.
c.Spawner.start_timeout = 180
c.Spawner.http_timeout = 120
c.JupyterHub.init_spawners_timeout = -1
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    {{
        "name": "tests",
        "scopes": ["admin:users", "admin:servers", "access:servers", "tokens", "shutdown"],
        "services": ["tests"],
    }}
]
"""

UNIT = """\
[Unit]
Description=JupyterHub of the tests

[Service]
User={user}
WorkingDirectory={folder}
Environment=PATH={bin}:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8
ExecStart={bin}/jupyterhub -f {folder}/jupyterhub_config.py
# Servers live in the Hub's cgroup and outlive a restart of the Hub.
KillMode=process
TasksMax=infinity
TimeoutStopSec=120
"""


class HubError(Exception):
    """The Hub did not do what was asked.

    `message` is the answer that users see; the text of the exception adds the end of the log.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(f"{message}\nThe Hub's log:\n{log[-4000:]}" if log else message)
        self.message = message


class Hub:
    """A JupyterHub in `machine`, from the virtualenv `environment`.

    `spawner`: the spawner class (entry point or dotted name). `configuration`: more lines for
    `jupyterhub_config.py`. `port`: the first of three ports that it uses. `user`: the account that
    it runs as. `unit_text`: its unit, where `{user}`, `{folder}` and `{bin}` are replaced. zoe,
    wash, nohome and mal may log in with `password`; rhea is the Hub's admin. Use it as a context
    manager, or call `start()` and `stop()`.
    """

    def __init__(
        self,
        machine: Machine,
        environment: Cache,
        *,
        spawner: str = "sudo",
        configuration: str = "",
        port: int = 8000,
        user: str = USER,
        password: str = PASSWORD,
        unit_text: str = UNIT,
    ) -> None:
        self.machine = machine
        self.environment = environment
        self.port = port
        self.password = password
        self.url = f"http://127.0.0.1:{port}"
        self.unit = f"jupyterhub-{port}.service"
        self.token = secrets.token_hex(16)
        self.folder = f"/var/lib/{USER}/hub-{port}"
        """The folder of the configuration and the database."""
        self._user = user
        self._unit_text = unit_text
        self._configuration = CONFIGURATION.format(
            port=port,
            hub_port=port + 1,
            proxy_port=port + 2,
            proxy=cache_named("node").bin / "configurable-http-proxy",
            password=password,
            spawner=spawner,
            token=self.token,
        )
        self._more = configuration

    def __enter__(self) -> Hub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # The process

    def start(self) -> None:
        """Start with a fresh database and wait until the Hub answers; `HubError` if it does not."""
        bin = self.environment.bin
        unit = self._unit_text.format(user=self._user, folder=self.folder, bin=bin)
        self.machine.run(["rm", "-rf", self.folder])
        self.machine.run(["install", "-d", f"--owner={self._user}", "--mode=0700", self.folder])
        self.configure(self._more)
        self.machine.write(f"/etc/systemd/system/{self.unit}", unit)
        self.machine.run(["systemctl", "daemon-reload"])
        self.machine.run(["systemctl", "start", self.unit])
        self.wait_until_it_answers()

    def configure(self, more: str) -> None:
        """Replace the additional configuration; it applies from the next start or `restart()`."""
        self.machine.write(
            f"{self.folder}/jupyterhub_config.py",
            self._configuration + more,
            owner=self._user,
            mode=0o600,
        )

    def stop(self) -> None:
        """Stop the Hub; it stops its servers unless it is configured to keep them."""
        self.machine.run(["systemctl", "stop", self.unit])

    def restart(self) -> None:
        """Restart the Hub on its database and wait until it answers."""
        self.machine.run(["systemctl", "restart", self.unit])
        self.wait_until_it_answers()

    @property
    def pid(self) -> int:
        """The Hub's pid, as the machine numbers it."""
        show = ["systemctl", "show", "--property=MainPID", "--value", self.unit]
        return int(self.machine.run(show).stdout)

    def read_log(self) -> str:
        """Return the Hub's log of all its runs, including the lines of its servers."""
        self.machine.run(["journalctl", "--sync"])
        journal = ["journalctl", "--no-pager", "--output=cat", f"--unit={self.unit}"]
        return self.machine.run(journal).stdout

    def wait_until_it_answers(self, seconds: float = 120) -> None:
        """Wait until the Hub answers through its proxy; `HubError` if it ends or time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.request("GET", "/hub/api/")
                return
            except (HubError, OSError):
                state = ["systemctl", "is-active", "--quiet", self.unit]
                if self.machine.run(state, check=False).returncode != 0:
                    break
                time.sleep(0.05)
        raise HubError("The Hub does not answer.", self.read_log())

    # The REST API

    def open(
        self, method: str, path: str, body: Any = None, *, timeout: float = 120
    ) -> HTTPResponse:
        """Send a request with the tests' token, follow redirects, and return the open answer.

        Raises `HubError` on a status of 400 or more, and `OSError` if there is no connection.
        """
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        try:
            with self.machine.network():
                return urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            # The proxy answers 503 while the Hub is not up yet.
            log = self.read_log() if error.code == 500 else ""
            raise HubError(f"{method} {path}: {error.code} {text}", log) from None

    def request(self, method: str, path: str, body: Any = None, *, timeout: float = 120) -> Any:
        """Like `open`, but return the decoded JSON of the answer, or None if it is empty."""
        with self.open(method, path, body, timeout=timeout) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def start_server(self, user: str, name: str = "", options: Any = None) -> None:
        """Start a user's server and wait until it is ready; `HubError` says why if it fails."""
        self.request("POST", self._server_path(user, name), options)
        for event in self.follow_progress(user, name):
            if event.get("ready"):
                return
            if event.get("failed"):
                raise HubError(f"The server of {user} failed to start: {event}", self.read_log())
        raise HubError("The Hub reported neither success nor failure.", self.read_log())

    def follow_progress(self, user: str, name: str = "") -> Iterator[dict[str, Any]]:
        """Yield the events of a start, as the Hub's page shows them."""
        with self.open("GET", f"{self._server_path(user, name)}/progress") as stream:
            for line in stream:
                if line.startswith(b"data:"):
                    yield json.loads(line.removeprefix(b"data:"))

    def stop_server(self, user: str, name: str = "", seconds: float = 120) -> None:
        """Stop a user's server and wait until it is gone; the Hub also forgets a named server."""
        self.request("DELETE", self._server_path(user, name), {"remove": True} if name else None)
        self.wait_until_gone(user, name, seconds)

    def wait_until_gone(self, user: str, name: str = "", seconds: float = 120) -> None:
        """Wait until the Hub has noticed the end of a server; `HubError` if it does not."""
        deadline = time.monotonic() + seconds
        while self.find_server(user, name) is not None:
            if time.monotonic() > deadline:
                raise HubError(f"The server of {user} is not gone.", self.read_log())
            time.sleep(0.05)

    def stop_all_servers(self) -> None:
        """Stop all servers of all users and wait until they are gone."""
        for user in self.request("GET", "/hub/api/users"):
            for name in user["servers"]:
                self.stop_server(user["name"], name)

    def find_server(self, user: str, name: str = "") -> dict[str, Any] | None:
        """Return the Hub's model of a server (`ready`, `pending`, `state`, …), or None."""
        return self.request("GET", f"/hub/api/users/{user}")["servers"].get(name)

    def find_pid(self, user: str, name: str = "") -> int:
        """Return a running server's pid, as the spawner stored it; `HubError` if there is none."""
        server = self.find_server(user, name)
        state = (server or {}).get("state") or {}
        if "pid" not in state:
            raise HubError(f"The Hub has no pid of the server of {user}: {server}")
        return int(state["pid"])

    @staticmethod
    def _server_path(user: str, name: str) -> str:
        return f"/hub/api/users/{user}/" + (f"servers/{name}" if name else "server")
