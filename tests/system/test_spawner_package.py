"""The tests of the Python package, and upstream's own of its package, with the installed wheel."""

from __future__ import annotations

import pytest

from machine.caches import Cache
from machine.catalogue import cache_named
from machine.installation import REPOSITORY
from machine.machine import Machine

DEBIANS = (13, 12)

TESTS = REPOSITORY / "spawner-py/tests"


@pytest.mark.parametrize("version", ["hub6", "hub4"])
def test_the_packages_own_tests_pass_under(machine: Machine, version: str) -> None:
    place = f"/run/spawner-tests-{version}"
    machine.copy_in(TESTS, place)
    environment = cache_named(version)
    python = environment.bin / "python"
    # The tests copy it as zoe, who can only execute the one that is installed.
    binary = f"{place}/sudospawner"
    machine.run(["install", "--mode=0755", environment.bin / "sudospawner", binary])
    run = machine.run([python, "-B", "-m", "pytest", "-q", "-c", "/dev/null", "-p",
                       "no:cacheprovider", "-o", "asyncio_mode=auto", place],
                      user="zoe", env={"SUDOSPAWNER_BINARY": binary}, check=False,
                      timeout=900)  # fmt: skip
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr


def test_upstreams_own_tests_pass_with_our_module_and_binary(
    machine: Machine, hub6: Cache, upstream: Cache
) -> None:
    ours = "/run/spawner-tests"
    machine.copy_in(TESTS, ours)
    script = f"{ours}/upstream_compatibility.sh"
    place = f"{upstream.path}/lib/python3*/site-packages/sudospawner/tests"
    [tests] = machine.run(f"echo {place}").stdout.split()
    run = machine.run(["sh", script, hub6.path, tests, "zoe"], check=False, timeout=900)
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout
