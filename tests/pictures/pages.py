"""Pictures of the pages that users of a Hub see, taken in chromium, and of root's terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from playwright.sync_api import Page, expect

from machine.cluster import Cluster
from machine.hub import Hub
from machine.machine import Machine
from pictures.texts import show_terminal
from system.browser import Browser, log_in

# Where the pages of the documentation have the Hub's environment.
PLACE = "/opt/jupyterhub"
POLICY_PLACE = "/etc/sudospawner/policy.toml"
POLICY = """\
hub_users = ["rhea"]

[targets]
groups = ["jupyterhub"]

[hooks]
timeout_seconds = 150
on_failure = "{on_failure}"
"""
POLICY_OF_JOBS = """\
hub_users = ["rhea"]

[targets]
groups = ["jupyterhub"]

[server]
launcher = "slurm"

[slurm.profiles.notebook]
title = "A notebook"
cpus = 1
memory = "2G"
time = "8:00:00"

[slurm.profiles.computation]
title = "A computation"
cpus = 4
memory = "4G"
time = "1:00:00"
"""
CONFIGURATION = f"""
c.SudoSpawner.mode = "root"
c.SudoSpawner.sudospawner_path = "{PLACE}/bin/sudospawner"
# The request returns at once, so that the whole start can be watched.
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
"""
HOOKS = "/etc/sudospawner/roothooks.d"
GO_ON = "/run/go-on"
HOME = 'echo "your home is $SUDOSPAWNER_HOME"\n'
WAITS = f"#!/bin/sh\nuntil [ -e {GO_ON} ]; do sleep 0.05; done\n"
FAILS = '#!/bin/sh\necho "the file server does not answer" >&2\nexit 1\n'
# What a server does not start with.
SETTINGS = '{"ServerApp": {"max_body_size": "lots"}}\n'
SETTINGS_PLACE = "/home/wash/.jupyter/jupyter_server_config.json"
# A telephone shows it so that it can be read.
WIDTH = 500
# How long something took, and when it was, differs each time.
SAME_TIMES = r"""
() => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode())
        texts.currentNode.data = texts.currentNode.data
            .replace(/\b\d+\.\d+ s\b/g, "0.1 s")
            .replace(/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}/g, "2026-01-01 12:00:00.000");
}
"""


class Stage(NamedTuple):
    """A running Hub in root mode, and who looks at it."""

    hub: Hub
    browser: Browser

    @property
    def machine(self) -> Machine:
        """Where the Hub runs."""
        return self.hub.machine

    def put(self, on_failure: str = "continue", **hooks: str) -> None:
        """Use this policy, and these hooks, `h10_home` for `10-home`, and no others."""
        self.machine.write(POLICY_PLACE, POLICY.format(on_failure=on_failure))
        self.machine.run(["rm", "-rf", HOOKS, GO_ON])
        for name, program in hooks.items():
            place = f"{HOOKS}/{name.removeprefix('h').replace('_', '-')}"
            self.machine.write(place, program, mode=0o755)

    @contextmanager
    def spawn_page(self, user: str) -> Iterator[Page]:
        """The page that starts a user's server."""
        session = self.browser.open_session()
        page = session.new_page()
        page.set_viewport_size({"width": WIDTH, "height": 100})
        log_in(page, self.hub, user, "/hub/spawn")
        yield page
        session.close()


def take(page: Page, *, with_log: bool = True) -> bytes:
    """Take the picture of the whole page, without bars to scroll it."""
    page.evaluate(SAME_TIMES)
    show = "show => document.querySelectorAll('details').forEach(log => log.open = show)"
    page.evaluate(show, with_log)
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": WIDTH, "height": height})
    return page.screenshot(animations="disabled")


def take_hook_running(stage: Stage) -> bytes:
    """A hook is under way."""
    stage.put(h10_home=f"#!/bin/sh\n{HOME}", h20_projects=WAITS)
    with stage.spawn_page("zoe") as page:
        expect(page.locator("#progress-log")).to_contain_text("Hook 20-projects is running")
        picture = take(page)
        stage.machine.write(GO_ON, "")
        page.wait_for_url(re.compile(r"/user/zoe/"))
    stage.hub.stop_server("zoe")
    return picture


def take_hook_failed(stage: Stage) -> bytes:
    """A hook has failed, and the policy wants no server then."""
    stage.put("fail", h10_home=WAITS + HOME, h20_projects=FAILS)
    with stage.spawn_page("zoe") as page:
        # From here on the page has all that happens.
        expect(page.locator("#progress-log")).to_contain_text("Hook 10-home is running")
        stage.machine.write(GO_ON, "")
        expect(page.locator("#progress-message")).to_contain_text("Spawn failed")
        return take(page)


def take_server_died(stage: Stage) -> bytes:
    """A server does not know what its user has set, and says so when it dies."""
    stage.put()
    stage.machine.write(SETTINGS_PLACE, SETTINGS, owner="wash")
    with stage.spawn_page("wash") as page:
        expect(page.locator("#progress-message")).to_contain_text("Spawn failed")
        # The log has each second of the wait.
        return take(page, with_log=False)


def take_check(stage: Stage) -> bytes:
    """On a machine where something is left to mend, root looks whether all is right."""
    program = f"{PLACE}/bin/sudospawner"
    stage.machine.run(["chmod", "0755", program])
    picture = show_terminal(stage.machine, "sudospawner check --user zoe", f"{PLACE}/bin")
    stage.machine.run(["chmod", "0711", program])
    return picture


def take_profiles(stage: Stage) -> bytes:
    """With servers as jobs of Slurm, a user chooses between the policy's profiles."""
    Cluster(stage.machine).install()
    stage.machine.write(POLICY_PLACE, POLICY_OF_JOBS)
    with stage.spawn_page("zoe") as page:
        page.get_by_role("group", name="Profile", exact=True).wait_for()
        return take(page)


# In this order: the last one changes the policy for good.
PAGES = {
    "hook-running.png": take_hook_running,
    "hook-failed.png": take_hook_failed,
    "server-died.png": take_server_died,
    "check.svg": take_check,
    "profiles.png": take_profiles,
}
