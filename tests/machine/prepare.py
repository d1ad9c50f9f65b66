"""Installs and builds what the tests need: Debian packages and caches. Prints what it does.

    python3 -m machine.prepare [CACHE …]      the default is every cache

Changes nothing else on the host. Needs root only if something is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from machine.caches import CACHES, cache_named

# A package and one of its files. If the file exists, from whatever source, the package is not
# installed.
DEBIAN_PACKAGES = {
    "sudo": "/usr/bin/sudo",
    "systemd": "/usr/lib/systemd/systemd",
    "systemd-container": "/usr/bin/systemd-nspawn",
    "dbus": "/usr/bin/dbus-daemon",
    "libpam-systemd": "/usr/share/pam-configs/systemd",
    "python3-venv": "/usr/share/doc/python3-venv",
    "chromium": "/usr/bin/chromium",
    "hyperfine": "/usr/bin/hyperfine",
    "nodejs": "/usr/bin/node",
    "npm": "/usr/bin/npm",
    "bindfs": "/usr/bin/bindfs",
    "fuse3": "/usr/bin/fusermount3",
    "gcc": "/usr/bin/cc",
    "libc6-dev": "/usr/include/stdlib.h",
    "dpkg-dev": "/usr/bin/dpkg-shlibdeps",
    "libcap2-bin": "/usr/sbin/setcap",
    "man-db": "/usr/bin/man",
    "mandoc": "/usr/bin/mandoc",
    "checkpolicy": "/usr/bin/checkmodule",
    "semodule-utils": "/usr/bin/semodule_package",
}


def install_debian_packages() -> None:
    """Install the missing `DEBIAN_PACKAGES`; `CalledProcessError` if apt fails."""
    missing = [package for package, file in DEBIAN_PACKAGES.items() if not Path(file).exists()]
    if not missing:
        return
    require_root()
    print(f"==> Debian packages: {' '.join(missing)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    subprocess.run(["apt-get", "update", "--quiet"], env=environment, check=True)
    subprocess.run(install, env=environment, check=True)


def require_root() -> None:
    """Exit with a message unless we are root."""
    if os.geteuid() != 0:
        sys.exit("Installing what the tests need, and booting the test machine, requires root.")


def require_rust() -> None:
    """Exit with a message unless cargo is installed: the toolchain is the developer's choice."""
    if shutil.which("cargo") is None:
        sys.exit("cargo is not installed: install Rust with rustup, then try again.")


def main(names: list[str]) -> None:
    """Prepare the named caches, or all of them."""
    require_rust()
    install_debian_packages()
    for cache in [cache_named(name) for name in names] or CACHES:
        if not cache.ready:
            require_root()
            cache.ensure()


if __name__ == "__main__":
    main(sys.argv[1:])
