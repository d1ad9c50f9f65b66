"""Installs what is tested in the machine: this repository's wheel and its sudoers rules."""

from __future__ import annotations

from pathlib import Path

from machine.caches import Cache
from machine.machine import Machine, MachineError

REPOSITORY = Path(__file__).resolve().parents[2]
SUDOERS = REPOSITORY / "sudoers"
SUDOERS_PLACE = "/etc/sudoers.d/sudospawner"

# The programs that users execute and must not read.
CLOSED = ("sudospawner", "sudospawner-slurm", "sudospawner-session")

# The example path in the sudoers fragments.
EXAMPLE_PATH = "/opt/jupyterhub/bin/sudospawner"


def find_wheel() -> Path:
    """Return the wheel of the last `make wheel`; `MachineError` if there is none."""
    wheels = sorted(
        (REPOSITORY / "target/wheels").glob("sudospawner_rs-*.whl"),
        key=lambda wheel: wheel.stat().st_mtime,
    )
    if not wheels:
        raise MachineError("There is no wheel in target/wheels: run `make wheel` first.")
    return wheels[-1]


def find_debian_package() -> Path:
    """Return the package of the last `make deb`; `MachineError` if there is none."""
    packages = list((REPOSITORY / "target/debian").glob("sudospawner_*.deb"))
    if not packages:
        raise MachineError("There is no package in target/debian: run `make deb` first.")
    return packages[0]


def install_wheel(machine: Machine, *environments: Cache) -> None:
    """Install our wheel into virtualenvs, in the machine only; the host's caches do not change."""
    wheel = find_wheel()
    place = f"/run/{wheel.name}"
    machine.write(place, wheel.read_bytes())
    for environment in environments:
        pip = [environment.bin / "pip", "--disable-pip-version-check", "install", "--quiet"]
        machine.run([*pip, "--no-index", "--no-deps", "--force-reinstall", place])
        # As docs/sudo.md says: pip makes the files that it installs readable by all.
        closed = [environment.bin / name for name in CLOSED]
        machine.run(["chmod", "0711", *closed])


def install_programs(machine: Machine, folder: Path, *environments: Cache) -> None:
    """Copy the programs of a folder to where the wheel installs its own, in the machine only."""
    for environment in environments:
        for program in folder.iterdir():
            mode = 0o711 if program.name in CLOSED else 0o755
            machine.write(environment.bin / program.name, program.read_bytes(), mode=mode)


def install_sudoers(
    machine: Machine, *environments: Cache, fragment: str = "sudospawner-user-mode", more: str = ""
) -> None:
    """Install a fragment of `sudoers/` with these virtualenvs' mediators as its path.

    `more`: lines of a site, which are appended. Replaces the rules of an earlier call. Raises
    `MachineError` with visudo's message if the rules are wrong.
    """
    mediators = ", ".join(str(environment.bin / "sudospawner") for environment in environments)
    rules = (SUDOERS / fragment).read_text().replace(EXAMPLE_PATH, mediators) + more
    # The draft has a name that sudo ignores, so that wrong rules never lock anyone out.
    draft = SUDOERS_PLACE + ".draft"
    machine.write(draft, rules, mode=0o440)
    machine.run(["visudo", "--check", "--file", draft])
    machine.run(["mv", draft, SUDOERS_PLACE])
