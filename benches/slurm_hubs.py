"""The row about a Hub's news of a server in a job: ours and batchspawner's, on one cluster."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack

from contenders import TARGET
from machine.batchspawner import make_batchspawner_hub
from machine.catalogue import cache_named
from machine.hub import Hub
from machine.machine import Machine
from machine.slurm_files import ADDRESS
from progress import report
from table import Row, format_duration, format_ratio, judge

ROUNDS = 9
# The most seconds from the moment at which a server listens until the Hub knows.
LISTENING_GOAL = 1.0
# Python's own server answers every request, and tells when it listens.
PLACE = "/opt/comparison/web-server"
STAMP = f"/home/{TARGET}/listens"
SERVER = f"""\
#!/usr/bin/python3 -I
import http.server, os, time, urllib.parse
url = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer((url.hostname, url.port), Handler)
with open("{STAMP}.new", "w") as file:
    file.write(str(time.monotonic()))
os.rename("{STAMP}.new", "{STAMP}")
server.serve_forever()
"""
OURS = f"c.JupyterHub.hub_bind_url = 'http://{ADDRESS}:8001'\n"


def make_our_hub(machine: Machine, configuration: str = "") -> Hub:
    """Return a Hub, not started, with our class in user mode."""
    environment, more = cache_named("hub6"), OURS + configuration
    return Hub(machine, environment, spawner="sudospawner.SudoSpawner", configuration=more)


def measure_listening(machine: Machine) -> Iterator[Row]:
    """Time from the moment at which a server listens on its node until the Hub knows."""
    machine.write(PLACE, SERVER, mode=0o755)
    ours = cache_named("hub6").bin / "sudospawner-singleuser"
    machine.write(ours, SERVER, mode=0o755)
    hubs = {"ours": make_our_hub(machine), "batchspawner": make_batchspawner_hub(machine, PLACE)}
    times: dict[str, list[float]] = {name: [] for name in hubs}
    with ExitStack() as running:
        for hub in hubs.values():
            running.enter_context(hub)
        for number in range(ROUNDS + 1):
            for name in [*hubs] if number % 2 else [*hubs][::-1]:
                hubs[name].start_server(TARGET)
                known = time.monotonic()
                late = known - float(machine.read(STAMP))
                hubs[name].stop_server(TARGET)
                report(f"round {number} of {ROUNDS}, {name}: known after {late:.2f} s")
                if number:
                    times[name].append(late)
    machine.run(["rm", ours])
    low, middle, high = statistics.quantiles(times["ours"], n=4, method="inclusive")
    other = statistics.median(times["batchspawner"])
    yield Row(
        measured="Slurm, server listens: its Hub knows",
        compared=f"batchspawner {format_duration(other)}",
        ours=f"{format_duration(middle)} ({format_duration(low)} to {format_duration(high)})",
        ratio=format_ratio(middle / other),
        goal=f"≤ {LISTENING_GOAL:g} s",
        result=judge(middle, LISTENING_GOAL),
    )
