"""`JobHub`: a Hub on the submit host of a cluster, whose servers run in jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from machine.catalogue import cache_named
from machine.hub import Hub
from machine.installation import install_sudoers, install_wheel
from machine.slurm_files import ADDRESS, DEBUG
from system.slurm import Cluster

POLICY = f"""\
hub_users = ["rhea"]

[targets]
groups = ["jupyterhub"]

[server]
launcher = "slurm"

[slurm.profiles.small]
title = "Small & quick"
cpus = 1
memory = "256M"
time = "20"

[slurm.profiles.big]
title = "<b>Big</b>"
cpus = 4
memory = "1G"
time = "30"
partition = "{DEBUG}"

[slurm.profiles.others]
groups = ["adm"]
"""
POLICY_PLACE = "/etc/sudospawner/policy.toml"

# The Hub calls this as its mediator. It notes each call, and may have the real one's reply to a
# spawn say something else, as the processes of a user's could.
WATCHED = "/opt/watched/bin/sudospawner"
CALLS = "/run/calls"
LIE = "/run/lie"
PROGRAM = f"""\
#!/usr/bin/python3 -I
import json, os, subprocess, sys
words = [{{real!r}}, *sys.argv[1:]]
request = "" if sys.argv[1] in ("jobs", "profiles") else sys.stdin.read()
action = json.loads(request)["action"] if request else sys.argv[1]
with open({CALLS!r}, "a") as file:
    file.write(action + "\\n")
if not request:
    os.execv(words[0], words)
called = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
with called.stdin:
    called.stdin.write(request)
for line in called.stdout:
    said = json.loads(line)
    if action == "spawn" and "ok" in said and os.path.exists({LIE!r}):
        said.update(json.load(open({LIE!r})))
    print(json.dumps(said), flush=True)
sys.exit(called.wait())
"""

# What the Hub takes for a server, in a moment.
SERVER = """\
#!/usr/bin/python3 -I
import http.server, os, urllib.parse
url = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer((url.hostname, url.port), Handler).serve_forever()
"""

CONFIGURATION = """
c.JupyterHub.hub_bind_url = "http://{address}:{hub_port}"
c.SudoSpawner.sudospawner_path = "{path}"
c.SudoSpawner.mode = "{mode}"
# The request returns at once, so that the whole start can be watched.
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
"""


class JobHub(Hub):
    """A Hub whose servers run in jobs of a cluster; `SERVER` is the server."""

    def __init__(self, cluster: Cluster, version: str = "hub6", port: int = 8060) -> None:
        """Prepare the Hub of this version; its wheel has to be installed."""
        environment = cache_named(version)
        super().__init__(cluster.machine, environment, port=port)
        self.cluster = cluster
        self.server = environment.bin / "sudospawner-singleuser"
        self.use_mode("user")
        program = PROGRAM.format(real=str(environment.bin / "sudospawner"))
        self.machine.write(WATCHED, program, mode=0o755)
        self.machine.write(CALLS, "", mode=0o666)
        self.put_server()

    def use_mode(self, mode: str) -> None:
        """Use user mode or root mode from the next start on. Root mode is not watched."""
        path = WATCHED if mode == "user" else str(self.environment.bin / "sudospawner")
        self._more = CONFIGURATION.format(
            address=ADDRESS, hub_port=self.port + 1, path=path, mode=mode
        )

    def put_server(self) -> None:
        """Have servers be small programs, and not JupyterLab."""
        self.machine.write(self.server, SERVER, mode=0o755)

    def remove_server(self) -> None:
        """Have servers be JupyterLab."""
        self.machine.run(["rm", "-f", self.server])

    @contextmanager
    def lying(self, **lie: Any) -> Iterator[None]:
        """In this context the mediator's replies to spawns say this."""
        self.machine.write(LIE, json.dumps(lie))
        try:
            yield
        finally:
            self.machine.run(["rm", LIE])

    def list_calls(self) -> list[str]:
        """The actions and subcommands of all calls so far."""
        return self.machine.read(CALLS).split()

    def find_job(self, user: str) -> int:
        """The job of a running server, as the spawner stored it."""
        server = self.find_server(user)
        assert server is not None
        return int(server["state"]["job"])


def install_for_jobs(cluster: Cluster, *versions: str) -> None:
    """Install our wheel into virtualenvs of a cluster's machine, the rules of sudo, the policy."""
    environments = [cache_named(version) for version in versions]
    install_wheel(cluster.machine, *environments)
    more = f"\nrhea ALL=(%jupyterhub) NOPASSWD: {WATCHED}\n"
    mediators = ", ".join(str(environment.bin / "sudospawner") for environment in environments)
    more += f"rhea ALL=(root) NOPASSWD: {mediators}\n"
    install_sudoers(cluster.machine, *environments, more=more)
    cluster.machine.write(POLICY_PLACE, POLICY)
