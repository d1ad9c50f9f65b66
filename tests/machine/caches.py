"""What the tests keep between runs: root file systems, virtualenvs, node modules and other tools.

The caches live below `/var/cache/sudospawner-rs`, or where SUDOSPAWNER_CACHE says. They belong to
root and are readable by all. Each has a key derived from its list of packages; when the list
changes, the cache is rebuilt. The key is written last, so an interrupted build is never taken for a
finished one. `machine.catalogue` has their list.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
ROOT = Path(os.environ.get("SUDOSPAWNER_CACHE", "/var/cache/sudospawner-rs"))
# Not the caller's python3: other accounts cannot run one in a home directory (pyenv).
PYTHON = "/usr/bin/python3"
MIRROR = os.environ.get("SUDOSPAWNER_MIRROR", "http://deb.debian.org/debian")
CHROOT = Path(__file__).with_name("chroot.sh")
# Mounts and processes of a build end with it, however it ends, and are never the host's.
APART = [
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Cache:
    """One folder that is built once.

    `name`: the folder. `purpose`: a phrase for the progress line. `pins`: the file or folder that
    lists the packages. `debian`: the root file system that it lies in, or None for the host.
    """

    name: str
    purpose: str
    pins: Path
    debian: Debian | None = None

    @property
    def folder(self) -> Path:
        """The folder, on the host."""
        return self.debian.folder / "opt" / self.name if self.debian else ROOT / self.name

    @property
    def path(self) -> Path:
        """The folder, where its programs run: on the host, or in a machine."""
        return Path("/opt", self.name) if self.debian else ROOT / self.name

    @property
    def bin(self) -> Path:
        """The folder of its programs, where they run."""
        return self.path / "bin"

    @property
    def ready(self) -> bool:
        """Whether the folder holds a finished build of exactly the listed packages."""
        marker = self.folder / ".complete"
        return marker.is_file() and marker.read_text() == self.key

    @cached_property
    def key(self) -> str:
        """A hash of all that decides what is in the folder."""
        digest = hashlib.sha256(self._describe_surroundings())
        for file in sorted(self.pins.iterdir()) if self.pins.is_dir() else [self.pins]:
            digest.update(file.read_bytes())
        return digest.hexdigest()

    def _describe_surroundings(self) -> bytes:
        """Return what decides besides the pins: the root that it lies in, or the host's Python."""
        if self.debian:
            return self.debian.key.encode()
        return subprocess.run([PYTHON, "--version"], capture_output=True, check=True).stdout

    def build(self) -> None:
        """Build the cache; the caller has locked the caches.

        Raises `subprocess.CalledProcessError` when a package cannot be installed.
        """
        name = f"{self.debian.name}, {self.name}" if self.debian else self.name
        print(f"==> {name}: {self.purpose}, into {self.folder}", flush=True)
        began = time.monotonic()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._build()
        (self.folder / ".complete").write_text(self.key)
        print(f"==> {name}: {time.monotonic() - began:.0f} s", flush=True)

    def _build(self) -> None:
        raise NotImplementedError

    def run(self, command: Sequence[str | Path]) -> None:
        """Run a command of the build where the cache lies; `CalledProcessError` if it fails."""
        if self.debian:
            self.debian.enter(command)
        else:
            subprocess.run(command, check=True)


@dataclass(frozen=True)
class Debian(Cache):
    """The root file system of one release of Debian, made from Debian's packages.

    It is the lower layer of the machines, which never write to it.
    """

    codename: str = ""

    def _describe_surroundings(self) -> bytes:
        return self.codename.encode()

    def _build(self) -> None:
        self._bootstrap(self.folder)

    def _bootstrap(self, place: Path) -> None:
        # What dpkg would wait for is that a disk has written: nobody misses half of a cache.
        options = [
            "--dpkgopt=force-unsafe-io",
            f"--include={','.join(read_packages(self.pins, self))}",
        ]
        proxy = ["apt-config", "dump", "Acquire::http::Proxy"]
        found = subprocess.run(proxy, capture_output=True, text=True, check=True).stdout
        options += [f"--aptopt={line}" for line in found.splitlines()]
        bootstrap = [*APART, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", *options]
        subprocess.run([*bootstrap, self.codename, place, MIRROR], check=True)

    def enter(self, command: Sequence[str | Path]) -> None:
        """Run a command in the root, as root, with the host's network and registries.

        For builds alone: every machine has what it writes. Raises `CalledProcessError`.
        """
        environment = {"PATH": PATH, "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(
            [*APART, "sh", CHROOT, self.folder, *command],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            check=True,
        )


def read_packages(pins: Path, debian: Debian) -> list[str]:
    """Return the names of Debian's packages in a list, one a line; `#` begins a comment.

    A second word is the only release that has the package.
    """
    lines = (line.partition("#")[0].split() for line in pins.read_text().splitlines())
    here = [debian.codename]
    return [words[0] for words in lines if words and (words[1:] or here) == here]


def ensure_caches(caches: Iterable[Cache]) -> None:
    """Build those of the caches that are not ready: what lies in one place one after the other.

    Two places at a time, because much of it waits for a network. A root comes before what lies in
    it. Raises `subprocess.CalledProcessError` when a package cannot be installed.
    """
    places: dict[str, list[Cache]] = {}
    for cache in caches:
        place = cache if isinstance(cache, Debian) else cache.debian
        places.setdefault(place.name if place else "", []).append(cache)

    def build(place: list[Cache]) -> None:
        for cache in sorted(place, key=lambda cache: not isinstance(cache, Debian)):
            # Another process may have built it while we waited for the lock.
            if not cache.ready:
                cache.build()

    with _locked_root(), ThreadPoolExecutor(max_workers=2) as builders:
        for built in [builders.submit(build, place) for place in places.values()]:
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
