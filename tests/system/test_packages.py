"""The packages: what is in them, that they are built the same anywhere, and a spawn through each.

The wheel is what all other tests run; its installation from nothing is in `test_how_to`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from machine.bill import find_bill, settle_wheel
from machine.caches import Cache
from machine.catalogue import cache_named
from machine.hub import Hub
from machine.installation import REPOSITORY, find_debian_package, find_wheel
from machine.machine import Machine
from system.door import CALL as SOCKET_CALL

DEBIANS = (13, 12)

BINARIES = (
    "sudospawner",
    "sudospawner-slurm",
    "sudospawner-session",
    "sudospawner-setup",
    "sudospawner-door",
    "jupyterhub-roothooks",
    "jsd-helper",
)
PAGES = sorted((REPOSITORY / "docs/man").iterdir())
COMPLETION = "share/bash-completion/completions/sudospawner"
MEDIATOR = "/usr/bin/sudospawner"
POLICY = """\
[server]
directory = "{bin}"
"""
RULES = f"rhea ALL=(%jupyterhub) NOPASSWD:{MEDIATOR}\n"


def list_sources() -> set[str]:
    """What a source distribution has to hold, beside what maturin writes itself."""
    python = REPOSITORY / "spawner-py"
    folders = [*REPOSITORY.glob("src/**/*"), *REPOSITORY.glob("sudoers/**/*")]
    folders += REPOSITORY.glob("systemd/*")
    files = {str(path.relative_to(REPOSITORY)) for path in folders if path.is_file()}
    files |= {f"sudospawner/{path.name}" for path in python.glob("sudospawner/*.py")}
    files |= {f"data/data/share/man/man{page.suffix[1:]}/{page.name}" for page in PAGES}
    return files | {
        f"data/data/{COMPLETION}",
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "PKG-INFO",
    }


def digest(content: bytes) -> str:
    """What two equal files have in common, short enough to be read in a failure."""
    return hashlib.sha256(content).hexdigest()


def read_all(wheel: Path) -> dict[str, str]:
    """The digest of each file in a wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: digest(archive.read(name)) for name in archive.namelist()}


def read_binaries(wheel: Path) -> dict[str, str]:
    """The digest of each program in a wheel, by name."""
    scripts = {name: found for name, found in read_all(wheel).items() if ".data/scripts/" in name}
    return {PurePosixPath(name).name: found for name, found in scripts.items()}


def choose_build(wheel: Path) -> tuple[str | Path, ...]:
    """What maturin is told, beside what it always is, to build such a wheel as this one."""
    compatibility, architecture = re.search(r"none-(\w+)_(x86_64|aarch64)$", wheel.stem).groups()
    chosen = ("--compatibility", compatibility)
    if compatibility == "linux":
        return chosen
    target = f"{architecture}-unknown-linux-gnu"
    return *chosen, "--auditwheel", "check", "--zig", "--target", target


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards: what is built in it is large."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def source(scratch: Path) -> Path:
    """The source distribution, made here from the repository."""
    place = scratch / "dist"
    maturin = [cache_named("tests").bin / "maturin", "sdist", "--out", place]
    subprocess.run(maturin, cwd=REPOSITORY / "spawner-py", check=True)
    [archive] = place.glob("sudospawner_rs-*.tar.gz")
    return archive


def test_the_source_distribution_holds_what_the_wheel_is_built_from(source: Path) -> None:
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == list_sources()


@pytest.fixture(scope="module", autouse=True)
def build_elsewhere(source: Path, scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A build that goes on beside the other tests of this file, until one waits for it.

    From the source distribution, in another folder, with cargo's own folder elsewhere; the wheel
    comes to lie in `scratch`.
    """
    subprocess.run(["tar", "--extract", "--file", source, "--directory", scratch], check=True)
    [folder] = scratch.glob("sudospawner_rs-*")
    home = Path(os.environ.get("CARGO_HOME", "~/.cargo")).expanduser()
    elsewhere = scratch / "cargo"
    elsewhere.mkdir()
    (elsewhere / "registry").symlink_to(home / "registry")
    environment = os.environ | {
        "CARGO_HOME": str(elsewhere),
        "CARGO_NET_OFFLINE": "true",
        "RUSTFLAGS": f"--remap-path-prefix={elsewhere}=/cargo",
        "CARGO_ZIGBUILD_ZIG_PATH": str(cache_named("release").bin / "python-zig"),
    }
    build = [cache_named("tests").bin / "maturin", "build", "--release", "--locked", "--quiet"]
    build += [*choose_build(find_wheel()), "--out", scratch]
    # A process group of its own: ending it ends cargo and rustc, too.
    process = subprocess.Popen(build, cwd=folder, env=environment, start_new_session=True)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_wheel_holds_programs_module_manual_pages_and_completion() -> None:
    with zipfile.ZipFile(find_wheel()) as archive:
        names = archive.namelist()
        pages = {PurePosixPath(n).name: archive.read(n) for n in names if "/share/man/" in n}
    assert pages == {page.name: page.read_bytes() for page in PAGES}
    assert [name for name in names if name.endswith(COMPLETION)]
    assert "sudospawner/spawner.py" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_lists_the_crates_that_its_programs_are_made_of() -> None:
    with zipfile.ZipFile(find_wheel()) as archive:
        bill = json.loads(archive.read(find_bill(archive.namelist())))
    listed = {f"{crate['name']} v{crate['version']}" for crate in bill["components"]}
    tree = ["cargo", "tree", "--locked", "--edges=normal", "--prefix=none", "--format={p}"]
    found = subprocess.run(tree, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    needed = {" ".join(line.split()[:2]) for line in found.splitlines() if line}
    assert len(needed) > 20
    # The list is of the top package, so it is not on it.
    assert {crate for crate in needed - listed if "sudospawner-rs" not in crate} == set()


@pytest.fixture(scope="module")
def debian_machine(machine: Machine) -> Iterator[Machine]:
    """The machine with the Debian package in it; at the end it is purged."""
    machine.write("/run/sudospawner.deb", find_debian_package().read_bytes())
    machine.run(["apt-get", "install", "--yes", "/run/sudospawner.deb"])
    yield machine
    machine.run(["dpkg", "--purge", "sudospawner"])


def test_the_debian_package_has_the_wheels_programs_and_activates_nothing(
    debian_machine: Machine,
) -> None:
    installed = debian_machine.run(["dpkg", "--listfiles", "sudospawner"]).stdout.splitlines()
    for name, expected in read_binaries(find_wheel()).items():
        path = f"/usr/bin/{name}"
        assert path in installed
        assert debian_machine.run(["sha256sum", path]).stdout.split()[0] == expected
    assert not [path for path in installed if path.startswith("/etc")]
    examples = "/usr/share/doc/sudospawner/examples"
    assert {f"{examples}/policy.toml", f"{examples}/sudospawner-user-mode"} < set(installed)
    assert {"/usr/share/doc/sudospawner/policy.md", f"/usr/{COMPLETION}"} < set(installed)
    for unit in ("sudospawner.socket", "sudospawner.service"):
        assert f"/usr/lib/systemd/system/{unit}" in installed
    is_enabled = ["systemctl", "is-enabled", "sudospawner.socket"]
    assert debian_machine.run(is_enabled, check=False).stdout == "disabled\n"
    depends = debian_machine.run(["dpkg-query", "-W", "-f=${Depends}", "sudospawner"]).stdout
    assert {"sudo | sudo-rs", "libpam0g"} < set(depends.split(", ")) and "libc6 (>= " in depends


def test_the_check_of_the_package_has_the_policy_name_the_servers_environment(
    debian_machine: Machine, hub6: Cache
) -> None:
    machine, path = debian_machine, f"PATH={hub6.bin}:/usr/bin:/bin"
    words = ["env", path, MEDIATOR, "check", "--json", "--hub-user=rhea", "--user=zoe"]

    def find_missing() -> list[str]:
        report = json.loads(machine.run([*words, "--mode=user"], check=False).stdout)
        found = report["findings"]
        return [one["remedy"] for one in found if one["code"] == "server_missing"]

    [remedy] = find_missing()
    machine.run(["sh", "-c", remedy])
    assert find_missing() == []
    assert f'directory = "{hub6.bin}"' in machine.read("/etc/sudospawner/policy.toml")
    assert machine.run(["test", "-e", "/usr/pyvenv.cfg"], check=False).returncode == 1
    machine.run(["rm", "-r", "/etc/sudospawner"])


def test_the_socket_of_the_package_needs_the_hubs_group_and_nothing_else(
    debian_machine: Machine, hub6: Cache
) -> None:
    machine = debian_machine
    policy = f'hub_users = ["rhea"]\n[targets]\ngroups = ["jupyterhub"]\n{POLICY}'
    machine.write("/etc/sudospawner/policy.toml", policy.format(bin=hub6.bin))
    folder = "/etc/systemd/system/sudospawner.socket.d"
    machine.write(f"{folder}/group.conf", "[Socket]\nSocketGroup=rhea\n")
    machine.write("/run/socket-call", SOCKET_CALL.read_text(), mode=0o755)
    try:
        machine.run("systemctl daemon-reload && systemctl enable --now sudospawner.socket")
        request = json.dumps({"action": "kill", "pid": 999999, "signal": 0})
        said = machine.run(["/run/socket-call", "zoe"], user="rhea", input=request).stdout
        assert json.loads(said) == {"ok": True, "alive": False}
    finally:
        machine.run("systemctl disable --now sudospawner.socket; systemctl stop sudospawner")
        machine.run(["rm", "-r", folder, "/etc/sudospawner", "/run/socket-call"])
        machine.run(["systemctl", "daemon-reload"])


def test_man_shows_the_pages_of_the_debian_package(debian_machine: Machine) -> None:
    for page in PAGES:
        where = debian_machine.run(["man", "--where", page.suffix[1:], page.stem]).stdout.strip()
        assert where == f"/usr/share/man/man{page.suffix[1:]}/{page.name}.gz"
        packed = debian_machine.run(["cat", where], input=b"").stdout
        assert gzip.decompress(packed) == page.read_bytes()


def test_a_hub_spawns_through_the_debian_package(debian_machine: Machine, hub6: Cache) -> None:
    machine = debian_machine
    setting = f'c.SudoSpawner.sudospawner_path = "{MEDIATOR}"\n'
    hub = Hub(machine, hub6, port=8040, configuration=setting)
    machine.write("/etc/sudospawner/policy.toml", POLICY.format(bin=hub6.bin))
    machine.write("/etc/sudoers.d/debian-package", RULES, mode=0o440)
    try:
        with hub:
            hub.start_server("zoe")
            parent = machine.read(f"/proc/{hub.find_pid('zoe')}/status").split("PPid:\t")[1]
            supervisor = machine.run(["readlink", f"/proc/{parent.split()[0]}/exe"]).stdout
            assert supervisor.strip() == MEDIATOR
            hub.stop_server("zoe")
    finally:
        machine.run(["rm", "-r", "/etc/sudoers.d/debian-package", "/etc/sudospawner"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_manual_page_is_rendered_without_a_warning(page: Path) -> None:
    for reader in (
        ["man", "--warnings", "-E", "UTF-8", "-l", page],
        ["groff", "-mdoc", "-ww", "-Tutf8", "-z", page],
        ["mandoc", "-T", "lint", "-W", "warning", page],
    ):
        environment = os.environ | {"MANWIDTH": "80", "LANG": "C.UTF-8"}
        shown = subprocess.run(reader, env=environment, capture_output=True, text=True)
        assert (shown.returncode, shown.stderr) == (0, ""), shown
        if reader[0] == "man":
            assert page.stem in shown.stdout and "SEE ALSO" in shown.stdout


@pytest.mark.timeout(1800)
def test_the_same_source_gives_the_same_wheel_elsewhere(
    build_elsewhere: subprocess.Popen[bytes], scratch: Path
) -> None:
    assert build_elsewhere.wait(1700) == 0
    [wheel] = scratch.glob("*.whl")
    settle_wheel(wheel)
    assert set(read_binaries(wheel)) >= set(BINARIES)
    assert read_all(wheel) == read_all(find_wheel())
