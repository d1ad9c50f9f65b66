"""What the tests keep on the host between runs: virtualenvs, node modules and other tools, pinned.

The caches live below `/var/cache/sudospawner-rs`, or where SUDOSPAWNER_CACHE says. They belong to
root and are readable by all, since the accounts inside the test machine run from them. Each has a
key derived from its list of pinned packages; when the list changes, the cache is rebuilt. The key
is written last, so an interrupted build is never taken for a finished one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
ROOT = Path(os.environ.get("SUDOSPAWNER_CACHE", "/var/cache/sudospawner-rs"))

# Not the caller's python3: other accounts cannot run one in a home directory (pyenv).
PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Cache:
    """One folder below the cache's root.

    `name`: the folder. `purpose`: a phrase for the progress line. `pins`: the file or folder that
    lists the pinned packages.
    """

    name: str
    purpose: str
    pins: Path

    @property
    def path(self) -> Path:
        """The folder: the same path on the host and in the machine."""
        return ROOT / self.name

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self.path / ("node_modules/.bin" if self.pins.is_dir() else "bin")

    @property
    def ready(self) -> bool:
        """Whether the folder holds a finished build of exactly the pinned packages."""
        marker = self.path / ".complete"
        return marker.is_file() and marker.read_text() == self._key()

    def _key(self) -> str:
        """Return a hash of the pins and the version of the interpreter."""
        interpreter = "node" if self.pins.is_dir() else PYTHON
        version = subprocess.run([interpreter, "--version"], capture_output=True, check=True).stdout
        digest = hashlib.sha256(version)
        for file in sorted(self.pins.iterdir()) if self.pins.is_dir() else [self.pins]:
            digest.update(file.read_bytes())
        return digest.hexdigest()

    def build(self) -> None:
        """Build the cache; the caller has locked the caches.

        Raises `subprocess.CalledProcessError` when a package cannot be installed.
        """
        print(f"==> {self.name}: {self.purpose}, into {self.path}", flush=True)
        began = time.monotonic()
        shutil.rmtree(self.path, ignore_errors=True)
        self._build()
        (self.path / ".complete").write_text(self._key())
        print(f"==> {self.name}: {time.monotonic() - began:.0f} s", flush=True)

    def _build(self) -> None:
        if self.pins.is_dir():
            self._install_node_modules()
        else:
            self._install_virtualenv()

    def _install_virtualenv(self) -> None:
        subprocess.run([PYTHON, "-m", "venv", self.path], check=True)
        pip = [self.path / "bin/pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--requirement", self.pins], check=True)

    def _install_node_modules(self) -> None:
        shutil.copytree(self.pins, self.path)
        npm = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(npm, cwd=self.path, check=True)


class CargoTool(Cache):
    """A program that cargo builds; the pins are one line, `crate@version`."""

    def _build(self) -> None:
        self._install(os.environ)

    def _install(self, environment: Mapping[str, str]) -> None:
        install = ["cargo", "install", "--quiet", "--locked", "--root", self.path]
        subprocess.run([*install, self.pins.read_text().strip()], env=environment, check=True)


class SudoRs(CargoTool):
    """sudo-rs, linked with the libpam of this computer, so that its headers are not needed."""

    def _build(self) -> None:
        self.path.mkdir()
        where = ["cc", "-print-file-name=libpam.so.0"]
        library = subprocess.run(where, capture_output=True, check=True, text=True).stdout.strip()
        (self.path / "libpam.so").symlink_to(library)
        self._install(os.environ | {"RUSTFLAGS": f"-L native={self.path}"})


class Downloads(Cache):
    """What pip and npm download for a Hub, so that a machine without a network can install it.

    The pins are pip's. The proxy is the newest version at the time of the build.
    """

    def _build(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run([PYTHON, "-m", "venv", scratch], check=True)
            pip = [f"{scratch}/bin/pip", "--disable-pip-version-check", "download", "--quiet"]
            wheels = ["--requirement", self.pins, "--dest", self.path / "wheels"]
            subprocess.run([*pip, *wheels], check=True)
            npm = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
            place = ["--global", "--prefix", scratch, "--cache", self.path / "npm"]
            subprocess.run([*npm, *place, "configurable-http-proxy"], check=True)

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables that make pip and npm use only this cache."""
        return {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.path / "wheels"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "npm_config_offline": "true",
            "npm_config_cache": str(self.path / "npm"),
        }


CACHES = (
    Cache("hub6", "JupyterHub 6 and JupyterLab", REQUIREMENTS / "hub6.txt"),
    Cache("hub4", "JupyterHub 4.1 and JupyterLab", REQUIREMENTS / "hub4.txt"),
    Cache("upstream", "JupyterHub 6 with upstream's sudospawner", REQUIREMENTS / "upstream.txt"),
    Cache("systemdspawner", "JupyterHub 6 and SystemdSpawner", REQUIREMENTS / "systemdspawner.txt"),
    Cache("node", "JupyterHub's proxy", REQUIREMENTS / "node"),
    Cache("tests", "pytest, playwright, ruff and maturin", REQUIREMENTS / "tests.txt"),
    Cache("docs", "Sphinx", REQUIREMENTS / "docs.txt"),
    CargoTool("cargo-deb", "what builds the Debian package", REQUIREMENTS / "cargo-deb.txt"),
    SudoRs("sudo-rs", "the sudo of other distributions", REQUIREMENTS / "sudo-rs.txt"),
    Downloads("downloads", "what a Hub is installed from", REQUIREMENTS / "hub6.txt"),
)


def cache_named(name: str) -> Cache:
    """Return the cache of that name; `KeyError` if there is none."""
    return {cache.name: cache for cache in CACHES}[name]


def ensure_caches(caches: Iterable[Cache]) -> None:
    """Build those of the caches that are not ready, two at a time: much of it waits for a network.

    Raises `subprocess.CalledProcessError` when a package cannot be installed.
    """
    with _locked_root(), ThreadPoolExecutor(max_workers=2) as builders:
        # Another process may have built them while we waited for the lock.
        for built in [builders.submit(cache.build) for cache in caches if not cache.ready]:
            built.result()


@contextmanager
def _locked_root() -> Iterator[None]:
    """Lock the caches for a build: nobody else builds, and no machine uses them."""
    os.umask(0o022)
    ROOT.mkdir(parents=True, exist_ok=True)
    with (ROOT / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"==> waiting for another process that uses {ROOT}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def held_caches() -> Iterator[None]:
    """Lock the caches for use: nobody rebuilds them. Waits for a running build."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with (ROOT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
