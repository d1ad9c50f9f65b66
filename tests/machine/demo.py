"""A demo: JupyterHub runs as an ordinary account and starts servers as other accounts.

    python3 -m machine.demo            a Hub to log in to, until Ctrl-C
    python3 -m machine.demo --once     start a server, run a cell, stop it, print how long each took
    python3 -m machine.demo --root     in root mode, with a new account, and a hook that mounts
    python3 -m machine.demo --systemd  in root mode, with a unit and limits for each server
    python3 -m machine.demo --socket   the same without sudo, for a Hub that may gain no rights
    python3 -m machine.demo --slurm    with servers on the two nodes of a cluster

Everything runs in the disposable test machine; nothing is left when the demo ends.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from machine.beginning import begin_process
from machine.catalogue import cache_named
from machine.forward import forwarded
from machine.hub import Hub, HubError
from machine.installation import install_wheel
from machine.kernel import Kernel
from machine.machine import Machine, MachineError
from machine.modes import RootMode, SocketMode, UnitMode, UserMode
from machine.slurm_mode import SlurmMode

LOGIN = """
  {url}    log in as zoe or wash (rhea is the Hub's admin), password {password}

  Only this computer can reach it. Ctrl-C ends the Hub and the machine it runs in.
"""


# Seconds until nothing of a stopped server is left.
LONGEST_END = 60


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Print the step, and how long it took."""
    print(f"  {step:<58}", end="", flush=True)
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:7.2f} s", flush=True)


def show_one_server(hub: Hub, mode: UserMode) -> None:
    """Start a user's server, run a cell in it, and stop it."""
    user = mode.user
    with timed(f"{user}'s server: asked for, until the Hub calls it ready"):
        hub.start_server(user)
    mode.show_server(hub, user)
    with timed(f"a kernel in it, and {mode.cell}"), Kernel(hub, user) as kernel:
        printed = mode.run_cell(kernel, user)
    print(f"    {printed}")
    with timed(f"{user}'s server: stopped, until it is gone"):
        hub.stop_server(user)
    # Root's hooks after a server may go on for a moment.
    deadline = time.monotonic() + LONGEST_END
    while left := mode.find_remains(hub.machine, user):
        if time.monotonic() > deadline:
            raise HubError(f"{user}'s server left this behind:\n{left}")
        time.sleep(0.1)
    mode.show_end(hub.machine)


def choose_mode(options: argparse.Namespace) -> UserMode:
    """Return the mode that was asked for."""
    if options.slurm:
        return SlurmMode(options.port)
    if options.socket:
        return SocketMode(options.port)
    return UnitMode() if options.systemd else RootMode() if options.root else UserMode()


def main() -> None:
    """Boot the machine, run the Hub, and show one server or wait for Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="start one server, then end")
    parser.add_argument(
        "--root", action="store_true", help="root mode, with a new account and a hook"
    )
    parser.add_argument("--systemd", action="store_true", help="root mode, with servers in units")
    parser.add_argument("--socket", action="store_true", help="the same through a socket")
    parser.add_argument("--slurm", action="store_true", help="servers on the nodes of a cluster")
    parser.add_argument("--port", type=int, default=8000, help="the first of three ports")
    options = parser.parse_args()
    begin_process()
    # SIGTERM ends the demo like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environment = cache_named("hub6")
    mode = choose_mode(options)
    # The nodes' network is never the host's.
    machine = Machine("private" if options.once or options.slurm else "host")
    hub = Hub(
        machine,
        environment,
        configuration=mode.configuration,
        port=options.port,
        password=secrets.token_urlsafe(9),
    )
    try:
        with timed("boot the test machine"):
            machine.boot()
        with timed("install the wheel and what else it takes"):
            install_wheel(machine, environment)
            mode.install(machine, environment)
        with timed("JupyterHub 6, as rhea"):
            hub.start()
        if options.once:
            show_one_server(hub, mode)
            return
        with timed(f"{mode.user}'s server"):
            hub.start_server(mode.user)
        mode.show_server(hub, mode.user)
        with ExitStack() as resources:
            if options.slurm:
                resources.enter_context(forwarded(machine, options.port))
            print(LOGIN.format(url=hub.url, password=hub.password), flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("\n  The end.", flush=True)
    except (HubError, MachineError) as error:
        sys.exit(f"\n{error}")
    finally:
        machine.close()


if __name__ == "__main__":
    main()
