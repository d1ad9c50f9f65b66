"""One sentence about the computer that produced the numbers."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def describe_computer() -> str:
    """Return the date, processor, kernel and versions as a sentence."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    sudo = subprocess.run(["sudo", "--version"], capture_output=True, text=True, check=True).stdout
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with {os.cpu_count()} cores of "
        f"{models[0] if models else platform.machine()}, Linux {platform.release()}, "
        f"{sudo.splitlines()[0]}, Python {platform.python_version()}."
    )
