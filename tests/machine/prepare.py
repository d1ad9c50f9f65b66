"""Installs and builds what a command needs: Debian packages and caches. Prints what it does.

    python3 -m machine.prepare [NEED …]      the default is everything but `vm`

A need is `build` (formats, lints, the wheel), `demo`, `suite` (all tests and benchmarks), `docs`
(the site), `release` (wheels for other computers), `vm` (the tests in the virtual machine) or the
name of a cache.
Changes nothing else on the host. Needs root only if something is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from machine.beginning import begin_process
from machine.caches import Cache, ensure_caches
from machine.catalogue import CACHES, DEBIANS, DISK, NEWEST, cache_named

# A package and one of its files. If the file exists, from whatever source, the package is not
# installed.
BUILD = {
    "sudo": "/usr/bin/sudo",
    "python3-venv": "/usr/share/doc/python3-venv",
    "gcc": "/usr/bin/cc",
    "libc6-dev": "/usr/include/stdlib.h",
}
MACHINE = BUILD | {
    "systemd-container": "/usr/bin/systemd-nspawn",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
}
SUITE = MACHINE | {"dpkg-dev": "/usr/bin/dpkg-shlibdeps"}
VM = {
    "mmdebstrap": MACHINE["mmdebstrap"],
    "debian-archive-keyring": MACHINE["debian-archive-keyring"],
    "e2fsprogs": "/usr/sbin/mkfs.ext4",
    "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
    "openssh-client": "/usr/bin/ssh",
}
RUST_TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
# What each need is: its packages and its caches.
NEEDS: dict[str, tuple[dict[str, str], list[Cache]]] = {
    "build": (BUILD, [cache_named("tests")]),
    "demo": (MACHINE, [DEBIANS[NEWEST], cache_named("hub6"), cache_named("node")]),
    "docs": (BUILD | {"mandoc": "/usr/bin/mandoc"}, [cache_named("docs")]),
    "release": (BUILD, [cache_named("tests"), cache_named("release")]),
    "suite": (SUITE, [cache for cache in CACHES if cache.name not in ("docs", "release")]),
    "vm": (BUILD | VM, [cache_named("tests"), DISK]),
}


def install_debian_packages(packages: dict[str, str]) -> None:
    """Install those of the packages that are missing; `CalledProcessError` if apt fails."""
    missing = [package for package, file in packages.items() if not Path(file).exists()]
    if not missing:
        return
    require_root()
    print(f"==> Debian packages: {' '.join(missing)}", flush=True)
    began = time.monotonic()
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    subprocess.run(["apt-get", "update", "--quiet"], env=environment, check=True)
    subprocess.run(install, env=environment, check=True)
    print(f"==> Debian packages: {time.monotonic() - began:.0f} s", flush=True)


def require_root() -> None:
    """Exit with a message unless we are root."""
    if os.geteuid() != 0:
        sys.exit("Installing what the tests need, and booting the test machine, requires root.")


def require_rust() -> None:
    """Exit with a message unless cargo is installed: the toolchain is the developer's choice."""
    if shutil.which("cargo") is None:
        sys.exit("cargo is not installed: install Rust with rustup, then try again.")


def install_rust_targets() -> None:
    """Have rustup install the standard library for each computer that a release is for.

    Without rustup, whoever installed cargo has to. Raises `CalledProcessError` if rustup fails.
    """
    if shutil.which("rustup"):
        subprocess.run(["rustup", "--quiet", "target", "add", *RUST_TARGETS], check=True)


def prepare_cache(cache: Cache) -> tuple[dict[str, str], list[Cache]]:
    """Return what a cache needs: packages, and the root file system that it lies in before it."""
    return (MACHINE, [cache.debian, cache]) if cache.debian else (BUILD, [cache])


def main(needs: list[str]) -> None:
    """Prepare what is needed."""
    begin_process()
    require_rust()
    if "release" in needs:
        install_rust_targets()
    packages: dict[str, str] = {}
    missing: list[Cache] = []
    for need in needs or ["build", "demo", "suite", "docs"]:
        more, caches = NEEDS[need] if need in NEEDS else prepare_cache(cache_named(need))
        packages |= more
        missing += [cache for cache in caches if cache not in missing and not cache.ready]
    install_debian_packages(packages)
    if missing:
        require_root()
        ensure_caches(missing)


if __name__ == "__main__":
    main(sys.argv[1:])
