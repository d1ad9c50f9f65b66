"""The kinds of caches: virtualenvs, node modules, Debian packages, programs, downloads."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from machine.caches import PYTHON, Cache, read_packages


class Virtualenv(Cache):
    """A virtualenv; the pins are pip's."""

    def _build(self) -> None:
        self.run([PYTHON, "-m", "venv", self.path])
        pins = shutil.copy(self.pins, self.folder)
        pip = [self.bin / "pip", "--disable-pip-version-check", "install", "--quiet"]
        self.run([*pip, "--requirement", self.path / Path(pins).name])


class NodeModules(Cache):
    """Modules of node; the pins are a folder with npm's two files."""

    @property
    def bin(self) -> Path:
        """The folder of its programs, where they run."""
        return self.path / "node_modules/.bin"

    def _build(self) -> None:
        shutil.copytree(self.pins, self.folder)
        npm = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        self.run([*npm, "--prefix", self.path])


class Packages(Cache):
    """More of Debian's packages in a root; the pins are their names, one a line."""

    def _build(self) -> None:
        self.folder.mkdir()
        options = "--no-install-recommends --option=Dpkg::Options::=--force-unsafe-io"
        assert self.debian
        packages = " ".join(read_packages(self.pins, self.debian))
        self.run(
            [
                *("sh", "-ec"),
                f"apt-get update --quiet=2; "
                f"apt-get install --yes --quiet=2 {options} {packages} >/dev/null; "
                f"apt-get clean",
            ]
        )


class Archives(Cache):
    """Debian's packages with all that they need, for a machine without a network to install.

    The pins are their names, one a line. In a machine: `apt-get install --yes /opt/NAME/*.deb`.
    """

    def _build(self) -> None:
        self.folder.mkdir()
        assert self.debian
        packages = " ".join(read_packages(self.pins, self.debian))
        options = f"--no-install-recommends --option=Dir::Cache::Archives={self.path}"
        self.run(
            [
                *("sh", "-ec"),
                f"mkdir {self.path}/partial; apt-get update --quiet=2; "
                f"apt-get install --yes --quiet=2 --download-only {options} {packages}",
            ]
        )


class Downloads(Cache):
    """What pip and npm download for a Hub, so that a machine without a network can install it.

    The pins are pip's. The proxy is the newest version at the time of the build.
    """

    def _build(self) -> None:
        self.folder.mkdir()
        pins = self.path / Path(shutil.copy(self.pins, self.folder)).name
        scratch = "/tmp/downloads"
        pip = f"{PYTHON} -m venv {scratch} && {scratch}/bin/pip --quiet download"
        npm = "npm install --no-audit --no-fund --silent --global"
        self.run(
            [
                *("sh", "-ec"),
                f"{pip} --requirement {pins} --dest {self.path}/wheels; "
                f"{npm} --prefix {scratch} --cache {self.path}/npm configurable-http-proxy; "
                f"rm -r {scratch}",
            ]
        )

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


class CargoTool(Cache):
    """A program of the host's that cargo builds; the pins are one line, `crate@version`."""

    def _build(self) -> None:
        self._install({})

    def _install(self, variables: dict[str, str]) -> None:
        install = ["cargo", "install", "--quiet", "--locked", "--root", self.folder]
        crate = self.pins.read_text().strip()
        subprocess.run([*install, crate], env=os.environ | variables, check=True)


class SudoRs(CargoTool):
    """sudo-rs, linked with the libpam of the host, so that its headers are not needed."""

    def _build(self) -> None:
        self.folder.mkdir()
        where = ["cc", "-print-file-name=libpam.so.0"]
        library = subprocess.run(where, capture_output=True, check=True, text=True).stdout.strip()
        (self.folder / "libpam.so").symlink_to(library)
        self._install({"RUSTFLAGS": f"-L native={self.folder}"})
