"""A real Hub whose servers run on the nodes of a cluster: form, queue, address, polls and ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from machine.hub import HubError
from machine.kernel import Kernel
from machine.slurm_files import ADDRESS, DEBUG, NODES
from system.browser import Browser, log_in, run_a_cell_and_stop
from system.mediator import wait_until
from system.slurm import FOLDER, Cluster
from system.slurm_hub import JobHub, install_for_jobs

ADDRESSES = {node.name: node.address for node in NODES}


@pytest.fixture(scope="module")
def running_hub(booted_cluster: Cluster) -> Iterator[JobHub]:
    """A Hub of JupyterHub 6 for all tests of this file."""
    install_for_jobs(booted_cluster, "hub6", "hub4")
    with JobHub(booted_cluster) as hub:
        yield hub


@pytest.fixture
def hub(cluster: Cluster, running_hub: JobHub, artifacts: Path) -> Iterator[JobHub]:
    """The Hub; no server of its users' runs before or after a test."""
    yield running_hub
    (artifacts / "slurm-hub.log").write_text(running_hub.read_log())
    running_hub.stop_all_servers()


@pytest.fixture(scope="module")
def cluster_browser(booted_cluster: Cluster) -> Iterator[Browser]:
    """A chromium in the cluster's machine."""
    browser = Browser(booted_cluster.machine)
    yield browser
    browser.close()


@pytest.fixture
def cluster_page(cluster_browser: Browser) -> Iterator[Page]:
    """An empty page in a session of its own."""
    session = cluster_browser.open_session()
    yield session.new_page()
    session.close()


def start_and_watch(hub: JobHub, user: str, options: dict[str, object] | None = None) -> list[str]:
    """Start a server; the messages that its user sees until it is ready."""
    hub.request("POST", f"/hub/api/users/{user}/server", options)
    events = list(hub.follow_progress(user))
    assert events[-1].get("ready"), (events, hub.read_log()[-4000:])
    return [event["message"] for event in events]


def test_a_server_runs_on_a_node_and_a_restarted_hub_finds_it(hub: JobHub) -> None:
    hub.remove_server()
    messages = start_and_watch(hub, "zoe")
    hub.put_server()
    number = hub.find_job("zoe")
    job = hub.cluster.look_up(number)
    assert f"Running on {job.host}" in messages
    look = "import getpass, socket; print(getpass.getuser(), socket.gethostname())"
    with Kernel(hub, "zoe") as kernel:
        assert kernel.run(look) == f"zoe {job.host}\n"
    state = hub.find_server("zoe")["state"]
    assert (state["host"], "pid" in state) == (ADDRESSES[job.host], False)
    hub.restart()
    assert hub.find_job("zoe") == number
    with Kernel(hub, "zoe") as kernel:
        assert kernel.run("print(6 * 7)") == "42\n"
    hub.stop_server("zoe")
    hub.cluster.wait_for_end(number)
    log = hub.read_log()
    assert f"zoe: its job {number} runs on {job.host}" in log


def test_zoe_runs_a_cell_in_jupyterlab_on_a_node_and_stops_her_server(
    hub: JobHub, cluster_page: Page
) -> None:
    hub.remove_server()
    log_in(cluster_page, hub, "zoe", "/hub/spawn")
    cluster_page.get_by_role("button", name="Start").click()
    code = "import getpass, socket; print('account', getpass.getuser(), socket.gethostname())"
    run_a_cell_and_stop(cluster_page, hub.url, code, "account zoe node")
    hub.put_server()
    hub.wait_until_gone("zoe")


@pytest.mark.parametrize("version", ["hub6", "hub4"])
def test_a_user_chooses_in_the_form_by_keyboard_and_the_hub_remembers(
    hub: JobHub, cluster_page: Page, artifacts: Path, version: str
) -> None:
    if version == "hub6":
        choose_and_look(hub, cluster_page, artifacts / "slurm-form-6.png")
        return
    with JobHub(hub.cluster, version, port=8070) as other:
        choose_and_look(other, cluster_page, artifacts / "slurm-form-4.png")


def choose_and_look(hub: JobHub, page: Page, picture: Path) -> None:
    """Make a mistake in the form, mend it, and see what becomes of it."""
    log_in(page, hub, "zoe", "/hub/spawn")
    group = page.get_by_role("group", name="Profile", exact=True)
    profiles = group.get_by_role("radio")
    expect(profiles).to_have_count(2)
    assert [radio.get_attribute("value") for radio in profiles.all()] == ["small", "big"]
    small, big = page.get_by_label("Small & quick"), page.get_by_label("<b>Big</b>")
    expect(small).to_be_checked()
    expect(big).to_have_accessible_description(
        f"4 cores, 1 GiB of memory, at most 30 minutes, partition {DEBUG}"
    )
    page.screenshot(path=picture, full_page=True)
    small.focus()
    page.keyboard.press("ArrowDown")
    expect(big).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.type("2")
    page.keyboard.press("Tab")
    page.keyboard.type("0.0001")
    page.eval_on_selector("form#spawn_form", "form => form.noValidate = true")
    page.keyboard.press("Enter")
    expect(page.locator(".spawn-error-msg")).to_contain_text("The memory has to be a size of")
    big.check()
    page.get_by_label("Cores").fill("2")
    page.get_by_label("Memory in GiB").fill("0.5")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/user/zoe/"))
    shown = hub.cluster.show(hub.find_job("zoe"))
    for part in ("NumCPUs=2 ", f"Partition={DEBUG} ", "MinMemoryNode=512M ", "TimeLimit=00:30:00"):
        assert part in shown
    hub.stop_server("zoe")
    page.goto(f"{hub.url}/hub/spawn")
    expect(big).to_be_checked()
    expect(page.get_by_label("Cores")).to_have_value("2")
    expect(page.get_by_label("Memory in GiB")).to_have_value("0.5")


def test_options_of_the_rest_api_are_the_forms_and_those_of_others_are_refused(
    hub: JobHub,
) -> None:
    start_and_watch(hub, "zoe", {"profile": "big", "cpus": 3, "memory": "512M"})
    assert "NumCPUs=3 " in hub.cluster.show(hub.find_job("zoe"))
    assert "unhandled user_options" not in hub.read_log()
    hub.stop_server("zoe")
    with pytest.raises(HubError) as refusal:
        hub.start_server("zoe", options={"profile": "others"})
    assert "zoe may not choose the profile others" in refusal.value.message
    # The Hub keeps the options of a start, also of one that failed, for a start without any.
    start_and_watch(hub, "zoe", {"profile": "small"})
    assert "MinMemoryNode=256M " in hub.cluster.show(hub.find_job("zoe"))


def test_a_user_reads_why_the_job_waits_and_a_stop_ends_it(hub: JobHub) -> None:
    with hub.cluster.drained(*NODES):
        hub.request("POST", "/hub/api/users/wash/server")
        messages = (event["message"] for event in hub.follow_progress("wash"))
        assert any(
            message.startswith("Waiting in the queue of the cluster") for message in messages
        )
    wait_until(lambda: (hub.find_server("wash") or {}).get("ready"), "wash's server", 180)
    hub.stop_server("wash")


@pytest.mark.parametrize("kind", ["the submit host", "another user's job", "a port of root's"])
def test_an_address_that_is_not_the_servers_is_not_believed(hub: JobHub, kind: str) -> None:
    """In user mode the reply is the word of a process of the user's."""
    hub.start_server("wash")
    state = hub.find_server("wash")["state"]
    lies = {
        "the submit host": {"host": ADDRESS, "port": hub.port + 1},
        "another user's job": {name: state[name] for name in ("job", "started", "host")},
        "a port of root's": {"port": 22},
    }
    words = "no server of a user's can" if "port" in kind else "Slurm and the mediator disagree"
    with hub.lying(**lies[kind]), pytest.raises(HubError) as refusal:
        hub.start_server("zoe")
    assert words in refusal.value.message
    assert hub.find_server("zoe") is None
    running = [job.id for job in hub.cluster.list_jobs().values() if job.state == "RUNNING"]
    assert int(state["job"]) in running
    # The class has ended her job, unless the mediator has not named it.
    assert (len(running) == 1) == (kind != "another user's job")
    assert hub.find_server("wash")["ready"]


def test_a_job_that_is_cancelled_is_noticed_and_its_user_reads_why(
    hub: JobHub, cluster_page: Page
) -> None:
    start_and_watch(hub, "zoe")
    number = hub.find_job("zoe")
    hub.machine.run(["scancel", str(number)], user="zoe")
    hub.wait_until_gone("zoe")
    sentence = "The job of the server was cancelled"
    assert sentence in hub.read_log()
    log_in(cluster_page, hub, "zoe", "/hub/user/zoe/")
    expect(cluster_page.locator("body")).to_contain_text(sentence)


def test_polls_ask_slurm_alone_and_a_controller_that_is_down_ends_no_server(hub: JobHub) -> None:
    for user in ("zoe", "wash"):
        hub.start_server(user)
    before = len(hub.list_calls())
    wait_until(lambda: len(hub.list_calls()) >= before + 4, "four questions to Slurm")
    assert set(hub.list_calls()[before:]) == {"jobs"}
    with hub.cluster.down():
        told = "2 servers count as alive until Slurm answers"
        wait_until(lambda: told in hub.read_log(), "the warning", 120)
        assert all(hub.find_server(user)["ready"] for user in ("zoe", "wash"))
    assert hub.read_log().count(told) == 1
    wait_until(lambda: len(hub.list_calls()) >= before + 8, "further questions", 120)
    assert all(hub.find_server(user)["ready"] for user in ("zoe", "wash"))


def test_jobs_that_slurm_hides_are_asked_about_through_the_mediator(hub: JobHub) -> None:
    hub.start_server("wash")
    file = FOLDER / "slurm.conf"
    configuration = hub.machine.read(file)
    hub.machine.write(file, configuration + "PrivateData=jobs\n")
    hub.machine.run(["scontrol", "reconfigure"])
    try:
        before = len(hub.list_calls())
        wait_until(lambda: hub.list_calls()[before:].count("status") >= 2, "two questions")
        assert hub.find_server("wash")["ready"]
        with pytest.raises(HubError) as refusal:
            hub.start_server("zoe")
        assert "give the account operator rights" in refusal.value.message
        hub.stop_server("wash")
    finally:
        hub.machine.write(file, configuration)
        hub.machine.run(["scontrol", "reconfigure"])


def test_a_server_of_user_mode_is_found_and_stopped_after_the_change_to_root_mode(
    hub: JobHub,
) -> None:
    hub.start_server("zoe")
    number = hub.find_job("zoe")
    hook = "/etc/sudospawner/roothooks.d/10-greets"
    hub.machine.write(hook, "#!/bin/sh\necho for $SUDOSPAWNER_USER\n", mode=0o755)
    hub.use_mode("root")
    hub.configure(hub._more)
    hub.restart()
    try:
        assert hub.find_job("zoe") == number
        hub.stop_server("zoe")
        hub.cluster.wait_for_end(number)
        messages = start_and_watch(hub, "zoe")
        beginnings = ["Hook 10-greets was done", "Running on node", "The server is up"]
        places = [
            next(place for place, message in enumerate(messages) if message.startswith(beginning))
            for beginning in beginnings
        ]
        assert places == sorted(places)
        hub.stop_server("zoe")
    finally:
        hub.machine.run(["rm", "-r", str(Path(hook).parent)])
        hub.use_mode("user")
        hub.configure(hub._more)
        hub.restart()
