"""One sentence about the computer that produced the numbers."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from machine.machine import Machine


def describe_computer(machine: Machine) -> str:
    """Return the date, processor, kernel and the machine's versions as a sentence."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    versions = "sudo --version | head -n 1; systemctl --version | head -n 1; python3 --version"
    sudo, systemd, python = machine.run(versions).stdout.splitlines()
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with {os.cpu_count()} cores of "
        f"{models[0] if models else platform.machine()}, Linux {platform.release()}, "
        f"Debian {machine.release}, {sudo}, {systemd.partition(' (')[0]}, {python}."
    )
