"""Shows the whole: JupyterHub as an ordinary account, starting servers as other accounts.

    python3 -m machine.demo          a Hub to log in to, until Ctrl-C
    python3 -m machine.demo --once   start a server, run a cell, stop it, print how long each took

Everything runs in the disposable test machine; nothing of it is left when the demo ends.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from machine.caches import cache_named
from machine.hub import Hub, HubError
from machine.installation import install_sudoers, install_wheel
from machine.kernel import Kernel
from machine.machine import Machine, MachineError

LOGIN = """
  {url}    log in as zoe or wash (rhea is the Hub's admin), password {password}

  Only this computer can reach it. Ctrl-C ends the Hub and the machine it runs in.
"""


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Print the step, and how long it took when it is done."""
    print(f"  {step:<58}", end="", flush=True)
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:7.2f} s", flush=True)


def show_processes(machine: Machine) -> None:
    """Print who runs what: the Hub, the supervisor, the server."""
    ps = ["ps", "--user", "rhea,zoe", "--format", "user:6,pid,ppid,rss,args", "--forest"]
    lines = machine.run(ps).stdout.splitlines()
    print("\n" + "\n".join(f"  {line[:150]}" for line in lines) + "\n", flush=True)


def show_one_server(hub: Hub) -> None:
    """Start zoe's server, run a cell in it, stop it."""
    with timed("zoe's server: asked for, until the Hub calls it ready"):
        hub.start_server("zoe")
    show_processes(hub.machine)
    with timed("a kernel in it, and a cell that tells its account"), Kernel(hub, "zoe") as kernel:
        account = kernel.run("import getpass; print(getpass.getuser())").strip()
    if account != "zoe":
        sys.exit(f"The cell ran as {account}, not as zoe.")
    with timed("zoe's server: stopped, until it is gone"):
        hub.stop_server("zoe")
    left = hub.machine.run(["ps", "--user", "zoe", "--format", "pid,args"], check=False).stdout
    if left.count("\n") > 1:
        sys.exit(f"Processes of zoe are left:\n{left}")


def main() -> None:
    """Boot the machine, run the Hub, and show one server or wait for Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="one server, then end")
    parser.add_argument("--port", type=int, default=8000, help="the first of three ports")
    options = parser.parse_args()
    # A SIGTERM ends the demo as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environment = cache_named("hub6")
    machine = Machine("private" if options.once else "host")
    hub = Hub(machine, environment, port=options.port, password=secrets.token_urlsafe(9))
    try:
        with timed("boot the test machine"):
            machine.boot()
        with timed("install the wheel and the sudoers rules in it"):
            install_wheel(machine, environment)
            install_sudoers(machine, environment)
        with timed("JupyterHub 6, as rhea"):
            hub.start()
        if options.once:
            show_one_server(hub)
            return
        with timed("zoe's server"):
            hub.start_server("zoe")
        show_processes(machine)
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
