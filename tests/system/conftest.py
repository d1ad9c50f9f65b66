"""Fixtures of the system tests: one machine, one Hub of each version in it, one browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from machine.beginning import begin_process
from machine.caches import Cache
from machine.catalogue import DEBIANS, NEWEST, cache_named
from machine.hub import Hub
from machine.installation import (
    REPOSITORY,
    install_programs,
    install_sudoers,
    install_wheel,
)
from machine.machine import Machine
from system.browser import Browser
from system.mediator import Mediator, RootMediator, wait_until
from system.slurm import Cluster
from system.slurm_servers import MODES, JobMediator, jobs_in

begin_process()
# A slow computer is no failure.
expect.set_options(timeout=120_000)

HUB_VERSIONS = ("hub6", "hub4")
PORTS = {"hub6": 8000, "hub4": 8010}


def install_what_is_tested(machine: Machine, *hubs: Cache) -> None:
    """Install our wheel into virtualenvs.

    With SUDOSPAWNER_PROGRAMS only the programs of that folder, without the Python package: for
    `make mutants`.
    """
    if folder := os.environ.get("SUDOSPAWNER_PROGRAMS"):
        install_programs(machine, Path(folder), *hubs)
    else:
        install_wheel(machine, *hubs)


# The C library of each release. What is built with a newer one need not run there.
LIBRARIES = {12: (2, 36), 13: (2, 41)}


def read_library() -> tuple[int, ...]:
    """The C library that the programs need: the wheel's name says it, or they need this one."""
    wheels = [wheel.stem for wheel in REPOSITORY.glob("target/wheels/*-manylinux_*.whl")]
    if wheels and "SUDOSPAWNER_PROGRAMS" not in os.environ:
        return tuple(int(word) for word in wheels[0].partition("manylinux_")[2].split("_")[:2])
    library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    return tuple(int(word) for word in library.split()[1].split("."))


LEFT_OUT = {release for release, library in LIBRARIES.items() if library < read_library()}


def pytest_report_header() -> list[str]:
    """Say which releases of Debian are left out."""
    why = "what is built on this computer needs a newer C library"
    return [f"Debian {release} is left out: {why}" for release in LEFT_OUT]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--debian 13`: only the tests that run on that release; may be given more than once."""
    parser.addoption("--debian", type=int, action="append", choices=[*DEBIANS])


# The fixtures that boot a machine.
BOOTED = {"machine", "bare_machine", "checked", "cluster"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a file's tests on each release in its `DEBIANS`; most run on the newest alone."""
    if "debian" not in metafunc.fixturenames:
        return
    releases = (NEWEST,)
    if not BOOTED.isdisjoint(metafunc.fixturenames):
        releases = getattr(metafunc.module, "DEBIANS", releases)
    wanted = metafunc.config.getoption("debian") or releases
    releases = [release for release in releases if release in wanted and release not in LEFT_OUT]
    names = [f"debian{release}" for release in releases]
    metafunc.parametrize("debian", releases, ids=names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def debian(request: pytest.FixtureRequest) -> int:
    """The release of Debian that the machine has."""
    # A test that asks for its machine by name has no parameter.
    return int(getattr(request, "param", NEWEST))


@pytest.fixture(scope="session")
def machine(debian: int) -> Iterator[Machine]:
    """The booted machine: our wheel in both Hubs' virtualenvs, sudoers for all mediators."""
    with Machine(release=debian) as machine:
        hubs = [cache_named(version) for version in HUB_VERSIONS]
        install_what_is_tested(machine, *hubs)
        install_sudoers(machine, *hubs, cache_named("upstream"))
        yield machine


SETTINGS = ("sudoers", "sudoers.d", "sudospawner", "pam.d", "security")


def list_settings(machine: Machine) -> list[str]:
    """What decides whom root permits what: each file with mode, owner, target and checksum."""
    places = " ".join(f"/etc/{name}" for name in SETTINGS)
    found = machine.run(
        f"find {places} -printf '%p %y %m %U %G %l\\n' 2>/dev/null; "
        f"find {places} -type f -exec sha256sum {{}} + 2>/dev/null",
        check=False,
    )
    assert "/etc/sudoers f 440 0 0" in found.stdout
    return sorted(found.stdout.splitlines())


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have each test with a machine begin with `same_settings`, which so ends last."""
    names = item.fixturenames if isinstance(item, pytest.Function) else []
    # All parameters of a test share the list.
    if "machine" in names and "same_settings" not in names:
        names.insert(0, "same_settings")


@pytest.fixture(scope="module")
def same_settings(machine: Machine) -> Iterator[None]:
    """A file of tests leaves sudo, PAM and policy as it found them, for whichever is next."""
    before = list_settings(machine)
    yield
    assert list_settings(machine) == before


@pytest.fixture(scope="session")
def hub6(machine: Machine) -> Cache:
    """The virtualenv of JupyterHub 6, with our wheel in it (inside the machine)."""
    return cache_named("hub6")


@pytest.fixture(scope="session")
def upstream(machine: Machine) -> Cache:
    """The virtualenv of upstream's sudospawner."""
    return cache_named("upstream")


@pytest.fixture(scope="session")
def hubs(machine: Machine) -> Iterator[dict[str, Hub]]:
    """The Hubs that have been started so far, by version. Use `hub`, which starts them."""
    running: dict[str, Hub] = {}
    yield running
    for hub in running.values():
        hub.stop()


@pytest.fixture(params=HUB_VERSIONS)
def hub(
    request: pytest.FixtureRequest, machine: Machine, hubs: dict[str, Hub], artifacts: Path
) -> Iterator[Hub]:
    """A Hub of each version, shared by all tests; no server runs before or after a test.

    If the test fails, the Hub's log is kept.
    """
    version = request.param
    if version not in hubs:
        hubs[version] = Hub(machine, cache_named(version), port=PORTS[version])
        hubs[version].start()
    failures = request.session.testsfailed
    yield hubs[version]
    if request.session.testsfailed > failures:
        (artifacts / f"{request.node.name}.log").write_text(hubs[version].read_log())
    hubs[version].stop_all_servers()


@pytest.fixture(scope="module")
def browser(machine: Machine) -> Iterator[Browser]:
    """One chromium for the tests of a file: those of another may end all processes of its user."""
    browser = Browser(machine)
    yield browser
    browser.close()


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Browser, artifacts: Path) -> Iterator[Page]:
    """An empty page in a browser session of its own; if the test fails, its picture is kept."""
    session = browser.open_session()
    page = session.new_page()
    failures = request.session.testsfailed
    yield page
    if request.session.testsfailed > failures:
        page.screenshot(path=artifacts / f"{request.node.name}.png", full_page=True)
    session.close()


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where tests leave what a person may want to look at."""
    folder = REPOSITORY / "target/test-artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def installed_mediator(machine: Machine, hub6: Cache) -> Mediator:
    """The binary of the wheel in a folder of its own, beside a server that does as it is told."""
    mediator = Mediator(machine, "/opt/mediator/bin")
    mediator.install_binary(hub6.bin / "sudospawner")
    return mediator


@pytest.fixture
def mediator(installed_mediator: Mediator) -> Iterator[Mediator]:
    """A mediator with its own server and rules; no process of zoe's may outlive the test."""
    installed_mediator.put_server()
    installed_mediator.permit()
    yield installed_mediator
    try:
        wait_until(lambda: installed_mediator.list_processes() == [], "the end of zoe's processes")
    finally:
        installed_mediator.kill_processes()
        installed_mediator.forbid()


@pytest.fixture
def root_mediator(machine: Machine, hub6: Cache) -> Iterator[RootMediator]:
    """A mediator in root mode without hooks; no process of zoe's may outlive the test."""
    binary = hub6.bin / "sudospawner"
    mediator = RootMediator.install(machine, "/opt/root-mediator/bin", binary)
    yield mediator
    try:
        wait_until(lambda: mediator.list_processes() == [], "the end of zoe's processes")
    finally:
        mediator.kill_processes()
        mediator.remove_all()


@pytest.fixture(scope="module")
def booted_cluster(debian: int) -> Iterator[Cluster]:
    """A machine of a file's own with Slurm in it."""
    with Machine(release=debian) as machine:
        cluster = Cluster(machine)
        cluster.install()
        yield cluster


@pytest.fixture
def cluster(booted_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, in which no job outlives the test."""
    yield booted_cluster
    booted_cluster.end_jobs()


@pytest.fixture(scope="module")
def programs(booted_cluster: Cluster) -> Path:
    """The programs of the wheel, in the cluster's machine."""
    hub6 = cache_named("hub6")
    install_what_is_tested(booted_cluster.machine, hub6)
    return hub6.bin


@pytest.fixture(params=MODES)
def jobs(request: pytest.FixtureRequest, cluster: Cluster, programs: Path) -> Iterator[JobMediator]:
    """A mediator in each mode, on a cluster without other jobs."""
    with jobs_in(request.param, cluster, programs / "sudospawner") as mediator:
        yield mediator


@pytest.fixture
def both(cluster: Cluster, programs: Path) -> Iterator[list[JobMediator]]:
    """The mediators of both modes at once, for what takes long."""
    with ExitStack() as stack:
        binary = programs / "sudospawner"
        yield [stack.enter_context(jobs_in(mode, cluster, binary)) for mode in MODES]
