"""All caches: what a test can name."""

from __future__ import annotations

from machine.caches import REQUIREMENTS, Cache, Debian
from machine.disk import Disk
from machine.environments import (
    Archives,
    CargoTool,
    Downloads,
    NodeModules,
    Packages,
    SudoRs,
    Virtualenv,
)

DEBIANS = {
    13: Debian("debian13", "Debian 13", REQUIREMENTS / "debian.txt", codename="trixie"),
    12: Debian("debian12", "Debian 12", REQUIREMENTS / "debian.txt", codename="bookworm"),
}
NEWEST = 13


def list_environments(debian: Debian) -> list[Cache]:
    """What lies in a root file system, with the packages that only tests need first."""
    hub = "JupyterHub 6 and "
    native = "JupyterHub 5 and NativeAuthenticator"
    # What is tried on one release alone.
    once = [
        Virtualenv("native", native, REQUIREMENTS / "native.txt", debian),
        Virtualenv("moto", "a server with buckets", REQUIREMENTS / "moto.txt", debian),
    ]
    return [
        Packages("more", "what only tests need", REQUIREMENTS / "debian-more.txt", debian),
        Virtualenv("hub6", hub + "JupyterLab", REQUIREMENTS / "hub6.txt", debian),
        Virtualenv("hub4", "JupyterHub 4.1 and JupyterLab", REQUIREMENTS / "hub4.txt", debian),
        Virtualenv("upstream", hub + "sudospawner", REQUIREMENTS / "upstream.txt", debian),
        Virtualenv(
            "systemdspawner", hub + "SystemdSpawner", REQUIREMENTS / "systemdspawner.txt", debian
        ),
        Virtualenv("batchspawner", hub + "batchspawner", REQUIREMENTS / "batchspawner.txt", debian),
        NodeModules("node", "JupyterHub's proxy", REQUIREMENTS / "node", debian),
        Downloads("downloads", "what a Hub is installed from", REQUIREMENTS / "hub6.txt", debian),
        *(once if debian == DEBIANS[NEWEST] else []),
    ]


TOOLS = [
    Virtualenv(
        "tests", "pytest, hypothesis, playwright, ruff and maturin", REQUIREMENTS / "tests.txt"
    ),
    Virtualenv("release", "zig and auditwheel", REQUIREMENTS / "release.txt"),
    Virtualenv("docs", "Sphinx", REQUIREMENTS / "docs.txt"),
    CargoTool("cargo-deb", "what builds the Debian package", REQUIREMENTS / "cargo-deb.txt"),
    SudoRs("sudo-rs", "the sudo of other distributions", REQUIREMENTS / "sudo-rs.txt"),
]
ARCHIVES = [
    Archives(name, title, REQUIREMENTS / f"debian-{name}.txt", DEBIANS[release])
    for name, title, releases in (
        ("directory", "a directory server and its client", [13]),
        ("buckets", "s3fs", [13]),
        ("containers", "runc and buildah", [13]),
        ("kerberos", "a KDC and its client", [13]),
        ("slurm", "Slurm and munge", [13, 12]),
    )
    for release in releases
]
"""What the machine of one file of tests installs, on the releases that the file runs on."""
DISK = Disk(
    "vm",
    "a disk with Debian 13, its kernel and SELinux",
    REQUIREMENTS / "debian-vm.txt",
    codename="trixie",
)
"""What the virtual machine boots from: for `make test-vm` alone."""
CACHES = [
    *TOOLS,
    *DEBIANS.values(),
    *(cache for debian in DEBIANS.values() for cache in list_environments(debian)),
    *ARCHIVES,
]
"""All of them."""


def cache_named(name: str, release: int = NEWEST) -> Cache:
    """Return a cache of the host's or of a Debian; `KeyError` if there is none of that name.

    What lies in a machine has the same path in every release.
    """
    archives = [cache for cache in ARCHIVES if cache.debian == DEBIANS[release]]
    caches = [*TOOLS, *list_environments(DEBIANS[release]), *archives]
    return {cache.name: cache for cache in caches}[name]
