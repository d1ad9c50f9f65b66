"""`sudospawner check` finds what is broken, and its remedies, applied literally, mend it.

One machine of this file's own, since nearly everything in it is broken once. A test breaks one
thing, expects the finding, hands the remedy to root's shell, and expects that all is well.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from machine.caches import Cache
from machine.catalogue import cache_named
from machine.hub import Hub
from machine.installation import install_wheel
from machine.machine import Machine
from system.mediator import wait_until

DEBIANS = (13, 12)

PATH = cache_named("hub6").bin / "sudospawner"
BIN = PATH.parent
POLICY = Path("/etc/sudospawner/policy.toml")
RULES = Path("/etc/sudoers.d/sudospawner")
HOOKS = POLICY.parent / "roothooks.d"
PROGRAM = POLICY.parent / "create-account"
SECRETS = POLICY.parent / "credentials"
CONFIGURATION = "/var/lib/rhea/hub-8040/jupyterhub_config.py"
UNIT = "jupyterhub-8040.service"
UPSTREAM = cache_named("upstream").bin


class Checked:
    """The machine, with a real Hub in user mode or in root mode, and its checks."""

    def __init__(self, machine: Machine, hub: Hub) -> None:
        """Use this machine; there are no rules and no policy yet."""
        self.machine = machine
        self.hub = hub
        self.mode = ""

    def check(self, *options: str, viewer: str = "root") -> dict[str, Any]:
        """The report, as root or as rhea sees it."""
        words = [PATH, "check", "--json", "--hub-user=rhea", f"--mode={self.mode}", *options]
        if not any(option.startswith("--unit") for option in options):
            words.append(f"--unit={UNIT}")
        run = self.machine.run(words, user=viewer, check=False)
        assert run.returncode in (0, 1), run.stderr
        report: dict[str, Any] = json.loads(run.stdout)
        levels = [finding["level"] for finding in report["findings"]]
        assert report["ok"] == ("problem" not in levels) == (run.returncode == 0)
        for finding in report["findings"]:
            assert finding["level"] != "problem" or finding["remedy"], finding
        return report

    def find_problems(self, *options: str, viewer: str = "root") -> list[dict[str, Any]]:
        """The findings that are problems."""
        report = self.check(*options, viewer=viewer)
        return [finding for finding in report["findings"] if finding["level"] == "problem"]

    def find(self, code: str, *options: str, viewer: str = "root") -> list[dict[str, Any]]:
        """The findings of this code that are not as they should be."""
        report = self.check(*options, viewer=viewer)
        return [
            finding
            for finding in report["findings"]
            if finding["code"] == code and finding["level"] != "ok"
        ]

    def run(self, command: str) -> None:
        """Have root's shell run a command, and wait for the Hub if it restarts that."""
        self.machine.run(["sh", "-c", command])
        if "systemctl restart" in command:
            self.hub.wait_until_it_answers()

    def apply(self, finding: dict[str, Any]) -> None:
        """Hand the remedy to root's shell, as it is."""
        self.run(finding["remedy"])

    def mend(self, *options: str) -> list[str]:
        """Apply the remedy of the first problem until there is none; the codes of all of them."""
        mended: list[str] = []
        while problems := self.find_problems(*options):
            assert len(mended) < 20, (mended, problems)
            self.apply(problems[0])
            mended.append(problems[0]["code"])
        return mended

    def enter(self, mode: str) -> None:
        """Have the machine in this mode, set up by nothing but remedies."""
        if self.mode != mode:
            self.mode = mode
            self.machine.run(["rm", "-rf", RULES, POLICY.parent])
            # Without a target, the rules are for a group.
            assert self.mend()


@pytest.fixture(scope="module")
def checked(debian: int) -> Iterator[Checked]:
    """The machine of this file, with a Hub that runs."""
    with Machine(release=debian) as machine:
        hub6: Cache = cache_named("hub6")
        install_wheel(machine, hub6, cache_named("hub4"))
        hub = Hub(machine, hub6, port=8040)
        hub.start()
        yield Checked(machine, hub)
        hub.stop()


def test_a_bare_machine_is_set_up_by_remedies_alone(checked: Checked) -> None:
    checked.mode = "user"
    found = {problem["code"] for problem in checked.find_problems("--user=zoe")}
    assert found >= {"sudo_refuses", "oom_policy"}
    assert checked.mend("--user=zoe")
    for viewer in ("root", "rhea"):
        report = checked.check("--user=zoe", viewer=viewer)
        levels = {finding["code"]: finding["level"] for finding in report["findings"]}
        assert levels["call"] == "ok", report
        assert levels["server_not_executable"] == "ok", report
        assert levels["sudo_runs_anything"] == "ok", report


def test_a_bare_machine_is_set_up_for_root_mode_by_remedies_alone(checked: Checked) -> None:
    checked.mode = "root"
    checked.machine.run(["rm", "-f", RULES])
    found = {problem["code"] for problem in checked.find_problems("--user=zoe")}
    assert found == {"policy_missing", "sudo_refuses"}
    checked.mend("--user=zoe")
    for viewer in ("root", "rhea"):
        report = checked.check("--user=zoe", viewer=viewer)
        levels = {finding["code"]: finding["level"] for finding in report["findings"]}
        assert levels["call"] == "ok", report


VIEWERS = ("root", "rhea")


@dataclass(frozen=True)
class Breakage:
    """One way to break a machine.

    `code` is the finding's, `command` what breaks, `viewers` who has to see it, `level` how much it
    matters, `options` what the check is asked, `undo` what is left to restore after the remedy.
    """

    name: str
    code: str
    command: str
    viewers: tuple[str, ...] = VIEWERS
    level: str = "problem"
    options: tuple[str, ...] = ("--user=zoe",)
    undo: str = ""


def add_to_unit(line: str) -> str:
    """A command that changes the Hub's unit; it stands before what the remedies add."""
    folder = f"/etc/systemd/system/{UNIT}.d"
    return (
        f"rm -f {folder}/*; mkdir -p {folder}; "
        f"printf '[Service]\\nOOMPolicy=continue\\n{line}\\n' >{folder}/broken.conf; "
        "systemctl daemon-reload"
    )


def add_rule(text: str, place: str = "/etc/sudoers.d/other") -> str:
    """A command that adds a file of sudoers."""
    return f"printf '%s\\n' '{text}' >{place}; chmod 0440 {place}"


RESTORE_UNIT = add_to_unit("")
ROOT_ALONE = ("root",)

IN_USER_MODE = [
    # The binary, and sudo
    Breakage("binary_writable", "binary_untrusted", f"chmod g+w {PATH}"),
    Breakage("binary_owned_by_a_user", "binary_untrusted", f"chown zoe {PATH}"),
    Breakage("sudo_without_setuid", "sudo_not_setuid", "chmod u-s /usr/bin/sudo"),
    Breakage(
        "sudo_on_nosuid",
        "sudo_not_setuid",
        "mount --bind /usr/bin /usr/bin && mount -o remount,bind,nosuid /usr/bin",
        undo="umount --lazy /usr/bin",
    ),
    Breakage(
        "binary_closed_to_users", "binary_closed", f"chmod o-rx {PATH}", viewers=ROOT_ALONE
    ),
    # Its rules
    Breakage("no_rule", "sudo_refuses", f"rm {RULES}", options=()),
    Breakage(
        "rule_with_another_path",
        "sudo_refuses",
        f"sed -i 's|{PATH}|/usr/bin/sudospawner|' {RULES}",
    ),
    Breakage("rule_with_password", "sudo_refuses", f"sed -i 's/NOPASSWD://' {RULES}"),
    Breakage("rule_with_arguments", "sudo_refuses", f"sed -i '/NOPASSWD/s/$/ --help/' {RULES}"),
    Breakage("user_not_in_group", "sudo_refuses", "gpasswd --delete zoe jupyterhub"),
    Breakage("log_input", "log_input", f"sed -i 's/!log_input/log_input/' {RULES}"),
    Breakage("log_input_tag", "log_input", f"sed -i 's/NOPASSWD:/NOPASSWD:LOG_INPUT:/' {RULES}"),
    Breakage(
        "requiretty", "requiretty", f"sed -i 's/!requiretty/requiretty/' {RULES}"
    ),
    Breakage(
        "everything_permitted",
        "sudo_runs_anything",
        add_rule("rhea ALL=(ALL) NOPASSWD: ALL"),
        undo="rm /etc/sudoers.d/other",
    ),
    Breakage(
        "everything_permitted_by_group",
        "sudo_permits_all",
        add_rule("%sudo ALL=(ALL) NOPASSWD: ALL") + "; usermod --append --groups sudo rhea",
        undo="rm /etc/sudoers.d/other",
    ),
    Breakage(
        "something_else_permitted",
        "sudo_permits_more",
        add_rule("rhea ALL=(root) NOPASSWD: /bin/date"),
        level="warning",
        undo="rm /etc/sudoers.d/other",
    ),
    Breakage(
        "syntax_error",
        "sudoers_broken",
        add_rule("these are no rules"),
        undo="rm /etc/sudoers.d/other.broken",
    ),
    Breakage("rules_writable", "sudoers_broken", f"chmod 0666 {RULES}"),
    Breakage("hub_account_expired", "hub_account", "chage --expiredate 1 rhea"),
    # What the Hub calls
    Breakage(
        "another_path",
        "sudospawner_path",
        f"""echo 'c.SudoSpawner.sudospawner_path = "/usr/bin/sudospawner"' >>{CONFIGURATION}""",
        undo=f"sed -i '$d' {CONFIGURATION}",
    ),
    Breakage(
        "relative_path",
        "sudospawner_path",
        f"""echo 'c.SudoSpawner.sudospawner_path = "sudospawner"' >>{CONFIGURATION}""",
        undo=f"sed -i '$d' {CONFIGURATION}",
    ),
    Breakage(
        "two_binaries",
        "two_binaries",
        f"cp {PATH} /usr/local/bin/sudospawner",
        level="warning",
        undo=f"rm /usr/local/bin/sudospawner; sed -i '$d' {CONFIGURATION}",
    ),
    Breakage(
        "python_sudospawner",
        "python_sudospawner",
        add_to_unit(f"Environment=PATH={UPSTREAM}:{BIN}:/usr/bin:/bin")
        + f"; systemctl restart {UNIT}",
        undo=RESTORE_UNIT,
    ),
    # The target, and what it executes
    Breakage("no_account", "target_unknown", "true", options=("--user=nemo",)),
    Breakage("no_home", "home_missing", "true", options=("--user=nohome",)),
    Breakage("closed_home", "home_closed", "chown root: /home/zoe"),
    Breakage("read_only_home", "home_closed", "chmod u-w /home/zoe"),
    Breakage(
        "shell", "shell", "usermod --shell /usr/sbin/nologin zoe", level="warning"
    ),
    Breakage("server_not_executable", "server_not_executable",
             f"chmod a-x {BIN}/jupyterhub-singleuser"),
    Breakage("server_directory_closed", "server_not_executable",
             "install -D -m 0755 /bin/true /srv/servers/jupyterhub-singleuser; chmod 0700 /srv; "
             f"mkdir -p {POLICY.parent}; "
             f"printf '[server]\\ndirectory = \"/srv/servers\"\\n' >{POLICY}",
             undo=f"rm -r {POLICY.parent}"),
    Breakage("server_on_noexec", "server_not_executable",
             "install -D -m 0755 /bin/true /srv/servers/jupyterhub-singleuser; "
             "mount --bind /srv /srv && mount -o remount,bind,noexec /srv; "
             f"mkdir -p {POLICY.parent}; "
             f"printf '[server]\\ndirectory = \"/srv/servers\"\\n' >{POLICY}",
             undo=f"umount --lazy /srv; rm -r {POLICY.parent}"),
    Breakage("server_writable", "server_untrusted",
             f"chmod g+w {BIN}/jupyterhub-singleuser", level="warning"),
    Breakage("no_interpreter", "interpreter", f"rm {BIN}/python3"),
    Breakage("no_first_line", "interpreter", f"sed -i 1d {BIN}/jupyterhub-singleuser",
             undo=f"sed -i '1s|.*|#!{BIN}/python3|' {BIN}/jupyterhub-singleuser"),
    # The policy, which counts in user mode, too
    Breakage("policy_unreadable", "policy_unreadable",
             f"install -d -m 0700 {POLICY.parent} && install -m 0600 /dev/null {POLICY}",
             undo=f"rm -r {POLICY.parent}"),
    Breakage("policy_malformed", "policy_malformed",
             f"mkdir -p {POLICY.parent}; printf 'hub_user = \"rhea\"\\n' >{POLICY}",
             undo=f"rm -r {POLICY.parent}"),
    Breakage("policy_value", "policy_malformed",
             f"mkdir -p {POLICY.parent}; printf '[targets]\\nmin_uid = 0\\n' >{POLICY}",
             undo=f"rm -r {POLICY.parent}"),
    Breakage("policy_owned_by_the_hub", "policy_untrusted",
             f"mkdir -p {POLICY.parent}; touch {POLICY}; chown rhea {POLICY}",
             undo=f"rm -r {POLICY.parent}"),
    Breakage("policy_writable", "policy_untrusted",
             f"mkdir -p {POLICY.parent}; touch {POLICY}; chmod g+w {POLICY}",
             undo=f"rm -r {POLICY.parent}"),
    Breakage("policy_is_a_link", "policy_untrusted",
             f"mkdir -p {POLICY.parent}; touch /srv/p.toml; ln -s /srv/p.toml {POLICY}",
             undo=f"rm -r {POLICY.parent} /srv/p.toml"),
    Breakage("min_uid", "min_uid",
             f"mkdir -p {POLICY.parent}; printf '[targets]\\nmin_uid = 50000\\n' >{POLICY}",
             undo=f"rm -r {POLICY.parent}"),
    # The Hub's unit and account
    Breakage("kill_mode", "kill_mode", add_to_unit("KillMode=mixed"), undo=RESTORE_UNIT),
    Breakage("oom_policy", "oom_policy", add_to_unit("OOMPolicy=stop"), undo=RESTORE_UNIT),
    Breakage("tasks_max", "tasks_max", add_to_unit("TasksMax=900"), level="warning",
             undo=RESTORE_UNIT),
    Breakage("limit_nofile", "limit_nofile", add_to_unit("LimitNOFILE=128"), level="warning",
             undo=RESTORE_UNIT),
    Breakage("memory_max", "memory_max", add_to_unit("MemoryMax=8G"), level="warning",
             undo=RESTORE_UNIT),
    Breakage("protect_home", "protect_home", add_to_unit("ProtectHome=yes"), undo=RESTORE_UNIT),
    Breakage("no_new_privileges", "no_new_privileges",
             add_to_unit("NoNewPrivileges=yes"),
             undo=RESTORE_UNIT),
    Breakage("capabilities", "capabilities", add_to_unit("CapabilityBoundingSet=CAP_CHOWN"),
             undo=RESTORE_UNIT),
    Breakage("recording", "recording",
             add_rule("Defaults log_output") + "; "
             + add_to_unit("ProtectSystem=strict\\nReadWritePaths=/var/lib/rhea"),
             undo=RESTORE_UNIT + "; rm -r /etc/sudoers.d/other /var/log/sudo-io"),
    Breakage("shadow", "shadow", "true", options=("--user=zoe", "--pam=yes"),
             undo="gpasswd --delete rhea shadow"),
]  # fmt: skip

IN_ROOT_MODE = [
    Breakage("no_policy", "policy_missing", f"rm {POLICY}"),
    Breakage("no_rule_for_root", "sudo_refuses", f"rm {RULES}"),
    Breakage("hub_not_named", "hub_users", f"sed -i 's/\"rhea\"/\"mal\"/' {POLICY}"),
    Breakage("nobody_is_a_target", "targets", f"sed -i 's/^groups/# groups/' {POLICY}"),
    Breakage("no_such_group", "targets_group",
             f"sed -i 's/^groups = .*/groups = [\"jupyterhub\", \"crew\"]/' {POLICY}",
             undo=f"sed -i 's/, .crew.//' {POLICY}; groupdel crew"),
    Breakage("limits", "limit_not_enforceable",
             f"sed -i '/^\\[limits\\]/a memory = \"1G\"' {POLICY}"),
    Breakage("no_program_for_accounts", "accounts_create",
             f"sed -i 's/^# create/create/' {POLICY}"),
    Breakage("program_of_a_user", "accounts_create",
             f"printf '#!/bin/sh\\n' >{PROGRAM}; chmod 0755 {PROGRAM}; chown zoe {PROGRAM}; "
             f"sed -i 's/^# create/create/' {POLICY}"),
    Breakage("program_not_executable", "accounts_create", f"chmod a-x {PROGRAM}"),
    Breakage("program_without_first_line", "hook_not_executable", f"echo true >{PROGRAM}",
             undo=f"rm {PROGRAM}; sed -i 's/^create/# create/' {POLICY}"),
    Breakage("not_a_member", "target_not_permitted", "gpasswd --delete zoe jupyterhub"),
    Breakage("closed_shell", "shell", "usermod --shell /usr/sbin/nologin zoe"),
    Breakage("server_writable_by_others", "server_untrusted",
             f"chmod o+w {BIN}/jupyterhub-singleuser", viewers=ROOT_ALONE),
    Breakage("hooks_of_a_user", "hooks_refused", f"mkdir -p {HOOKS}; chown zoe {HOOKS}"),
    Breakage("hook_of_a_user", "hook_refused",
             f"mkdir -p {HOOKS}; printf '#!/bin/sh\\n' >{HOOKS}/10-x; chmod 0755 {HOOKS}/10-x; "
             f"chown zoe {HOOKS}/10-x"),
    Breakage("hook_not_executable", "hook_off", f"chmod a-x {HOOKS}/10-x", level="warning"),
    Breakage("hook_without_first_line", "hook_not_executable", f"echo true >{HOOKS}/10-x"),
    Breakage("hook_from_windows", "hook_not_executable",
             f"printf '#!/bin/sh\\r\\ntrue\\r\\n' >{HOOKS}/10-x"),
    Breakage("hook_with_another_path", "hook_not_executable",
             f"printf '#!/opt/bin/bash\\n' >{HOOKS}/10-x"),
    Breakage("hook_without_interpreter", "hook_not_executable",
             f"printf '#!/opt/bin/no-such-shell\\n' >{HOOKS}/10-x", undo=f"rm -r {HOOKS}"),
    Breakage("no_secrets", "credentials_refused",
             f"sed -i 's/^# credentials/credentials/' {POLICY}"),
    Breakage("secrets_of_a_user", "credentials_refused", f"chown zoe {SECRETS}"),
    Breakage("secret_that_others_can_read", "credentials_refused",
             f"install -m 0644 /dev/null {SECRETS}/zoe", viewers=ROOT_ALONE),
    Breakage("secret_of_a_user", "credentials_refused", f"chown zoe {SECRETS}/zoe",
             viewers=ROOT_ALONE,
             undo=f"rm -r {SECRETS}; sed -i 's/^credentials/# credentials/' {POLICY}"),
    Breakage("no_service", "pam_service",
             f"sed -i '/^\\[server\\]/a pam_service = \"servers\"' {POLICY}"),
    Breakage("session_program_writable_by_others", "pam_program",
             f"chmod o+w {BIN}/sudospawner-session"),
    Breakage("no_session_program", "pam_program",
             f"mv {BIN}/sudospawner-session /srv/",
             undo=f"mv /srv/sudospawner-session {BIN}/; rm /etc/pam.d/servers; "
             f"sed -i '/^# pam_service = .servers/d' {POLICY}"),
    Breakage("limits_conf", "limits_conf",
             "echo '@jupyterhub hard nproc 500' >>/etc/security/limits.conf",
             level="warning", undo="sed -i '$d' /etc/security/limits.conf"),
]  # fmt: skip


def break_and_mend(checked: Checked, breakage: Breakage) -> None:
    """Break one thing, expect the finding, apply its remedy, expect that all is well."""
    options = breakage.options
    checked.run(breakage.command)
    found = {viewer: checked.find(breakage.code, *options, viewer=viewer) for viewer in VIEWERS}
    for viewer in breakage.viewers:
        assert found[viewer], (viewer, checked.find_problems(*options, viewer=viewer))
        assert found[viewer][0]["level"] == breakage.level
    checked.apply(found["root"][0])
    for viewer in breakage.viewers:
        assert checked.find(breakage.code, *options, viewer=viewer) == []
        assert checked.find_problems(*options, viewer=viewer) == []
    if breakage.undo:
        checked.run(breakage.undo)
        assert checked.find_problems("--user=zoe") == []


@pytest.mark.parametrize("breakage", IN_USER_MODE, ids=lambda breakage: breakage.name)
def test_what_breaks_user_mode_is_found_and_mended(checked: Checked, breakage: Breakage) -> None:
    checked.enter("user")
    break_and_mend(checked, breakage)


def test_what_implies_no_new_privileges_is_a_problem_where_it_does(
    checked: Checked, debian: int
) -> None:
    checked.enter("user")
    options = "PrivateDevices=yes\\nSystemCallFilter=~@mount"
    command = f"{add_to_unit(options)}; systemctl restart {UNIT}"
    if debian < 13:
        code = "no_new_privileges"
        break_and_mend(checked, Breakage(code, code, command, undo=RESTORE_UNIT))
        return
    # systemd since 255 gives the unit its filter without that flag.
    checked.run(command)
    found = checked.find_problems("--user=zoe")
    checked.run(RESTORE_UNIT)
    assert found == []


@pytest.mark.parametrize("mode", ["user", "root"])
def test_a_setuid_bit_is_for_root_to_find_since_it_refuses_all_others(
    checked: Checked, mode: str
) -> None:
    checked.enter(mode)
    checked.run(f"chmod u+s {PATH}")
    run = checked.machine.run([PATH, "check", "--json"], user="rhea", check=False)
    [found] = checked.find("setuid", "--user=zoe")
    checked.apply(found)
    assert (json.loads(run.stdout)["code"], run.returncode) == ("binary_setuid", 1)
    assert "chmod ug-s" in run.stderr
    assert found["level"] == "problem"
    assert checked.find_problems("--user=zoe") == []


def test_of_a_directory_that_others_can_write_root_is_told_by_the_mediator(
    checked: Checked,
) -> None:
    checked.enter("user")
    checked.run(f"chmod o+w {BIN}")
    run = checked.machine.run([PATH, "check"], check=False)
    [found] = checked.find("binary_untrusted", "--user=zoe", viewer="rhea")
    checked.apply(found)
    assert (run.returncode, run.stdout) == (2, "")
    assert f"chmod go-w {BIN}" in run.stderr
    assert checked.find_problems("--user=zoe") == []


@pytest.mark.parametrize("breakage", IN_ROOT_MODE, ids=lambda breakage: breakage.name)
def test_what_breaks_root_mode_is_found_and_mended(checked: Checked, breakage: Breakage) -> None:
    checked.enter("root")
    break_and_mend(checked, breakage)


@pytest.mark.parametrize("version", ["hub6", "hub4"])
def test_the_hub_logs_at_its_start_what_is_wrong(checked: Checked, version: str) -> None:
    checked.enter("user")
    checked.run(RESTORE_UNIT)
    hub = Hub(
        checked.machine,
        cache_named(version),
        configuration="c.SudoSpawner.check_on_start = True\n",
        port=8050 if version == "hub4" else 8060,
    )
    with hub:
        # What is said of units comes after all that is said of sudo.
        wait_until(lambda: "OOMPolicy=stop" in hub.read_log(), "the check")
        log = hub.read_log()
    found = re.search(r"unit: OOMPolicy=stop of (\S+): .*; as root: (.*)", log)
    assert found is not None, log
    assert found[1] == hub.unit
    assert "OOMPolicy=continue" in found[2]
    assert log.count("OOMPolicy=stop") == 1
    # The rules name the mediator of the one environment, and this is the other's.
    refused = "does not let rhea run" in log or "no rule lets rhea call" in log
    assert refused == (version == "hub4"), log


@pytest.mark.parametrize("viewer", ["root", "rhea"])
def test_the_mode_is_what_sudo_permits_where_the_hub_does_not_say(
    checked: Checked, viewer: str
) -> None:
    ask = [PATH, "check", "--json", "--user=zoe", f"--unit={UNIT}"]
    for mode in ("user", "root"):
        checked.enter(mode)
        # What root mode needs of the policy, in user mode too.
        text = 'hub_users = ["rhea"]\n[targets]\ngroups = ["nogroup"]\n'
        if mode == "user":
            checked.machine.write(POLICY, text)
        report = json.loads(checked.machine.run(ask, user=viewer, check=False).stdout)
        assert report["mode"] == mode
        assert report["ok"], report
        if mode == "user":
            checked.machine.run(["rm", POLICY])


def test_root_that_sudo_made_looks_as_who_called_and_says_how_root_itself_looks(
    checked: Checked,
) -> None:
    checked.enter("user")
    machine = checked.machine
    machine.write("/etc/sudoers.d/other", "mal ALL=(root) NOPASSWD: ALL\n", mode=0o440)
    report = [PATH, "check", "--json", "--hub-user=rhea", "--user=zoe"]
    through_sudo = machine.run(["sudo", "-n", *report], user="mal", check=False)
    assert "as mal, who called" in through_sudo.stderr
    codes = {finding["code"] for finding in json.loads(through_sudo.stdout)["findings"]}
    assert "sudo_unseen" in codes
    itself = ["sudo", "-n", "env", "-u", "SUDO_UID", *report]
    as_root = machine.run(itself, user="mal", check=False)
    assert "who called" not in as_root.stderr
    codes = {finding["code"] for finding in json.loads(as_root.stdout)["findings"]}
    assert "call" in codes and "sudo_unseen" not in codes
    machine.run(["rm", "/etc/sudoers.d/other"])


RULES_FOR = {
    "group": ("--group=jupyterhub", ["sudo", "-nH", "-u", "zoe", PATH]),
    "users": ("--users=zoe,wash", ["sudo", "-nH", "-u", "zoe", PATH]),
    "root": ("--mode=root", ["sudo", "-n", PATH, "--user=zoe"]),
}


@pytest.mark.parametrize("whom", RULES_FOR)
def test_rules_that_sudoers_prints_are_installed_as_they_say_and_start_servers(
    checked: Checked, whom: str
) -> None:
    option, call = RULES_FOR[whom]
    checked.enter("root" if whom == "root" else "user")
    machine = checked.machine
    rules = machine.run([PATH, "sudoers", "--hub-user", "rhea", option]).stdout
    # The header says how: its indented lines are commands.
    commands = [line[5:] for line in rules.splitlines() if line.startswith("#     ")]
    assert len(commands) == 4
    machine.run(["rm", RULES])
    machine.run(["sh", "-euc", "\n".join(commands)])
    assert machine.read(RULES) == rules
    assert machine.run(["stat", "--format=%a %U", RULES]).stdout == "440 root\n"
    machine.run(["visudo", "--check", "--strict"])
    # What a Hub records of it must not hold tokens.
    iolog = "/var/log/sudo-io"
    site = f"Defaults log_input, log_stdin, requiretty\nDefaults iolog_dir={iolog}, !compress_io\n"
    machine.write("/etc/sudoers.d/site", site, mode=0o440)
    server = BIN / "sudospawner-singleuser"
    machine.write(server, "#!/bin/sh\nexec sleep 60\n", mode=0o755)
    try:
        request = {"action": "spawn", "args": [], "env": {"TOKEN": "0123456789abcdef"}}
        # The server keeps stderr open.
        command = f"{shlex.join(map(str, call))} 2>/dev/null"
        run = machine.run(command, user="rhea", input=json.dumps(request), check=False)
        reply = json.loads(run.stdout)
        assert reply["ok"], reply
        status = machine.read(f"/proc/{reply['pid']}/status")
        uid = machine.look_up_account("zoe").uid
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
        stop = {"action": "stop", "pid": reply["pid"], "interrupt_seconds": 0}
        machine.run(call, user="rhea", input=json.dumps(stop))
        grep = ["grep", "--recursive", "--text", "0123456789abcdef", iolog]
        assert machine.run(grep, check=False).stdout == ""
    finally:
        machine.run(["rm", "-rf", server, "/etc/sudoers.d/site", iolog])


def pack_wheel(machine: Machine, folder: str) -> None:
    """Make a wheel of the JupyterHub that is installed, since the machine has no network."""
    program = """
import base64, csv, hashlib, importlib.metadata, pathlib, sys, zipfile
found = importlib.metadata.distribution("jupyterhub")
name = f"jupyterhub-{found.version}"
with zipfile.ZipFile(f"{sys.argv[1]}/{name}-py3-none-any.whl", "w") as wheel:
    record = []
    for file in found.files:
        place = str(file)
        if place.startswith("../../../share/"):
            place = f"{name}.data/data/" + place.removeprefix("../../../")
        if place.startswith("..") or place.endswith(("RECORD", "INSTALLER", ".pyc")):
            continue
        content = pathlib.Path(file.locate()).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        record.append(f"{place},sha256={digest.decode()},{len(content)}")
        wheel.writestr(place, content)
    record.append(f"{name}.dist-info/RECORD,,")
    wheel.writestr(f"{name}.dist-info/RECORD", "\\n".join(record) + "\\n")
"""
    machine.run(["mkdir", "-p", folder])
    machine.run([BIN / "python", "-c", program, folder])


def test_a_missing_server_is_installed_again(checked: Checked) -> None:
    checked.enter("user")
    pack_wheel(checked.machine, "/srv/wheels")
    checked.machine.run(["rm", BIN / "jupyterhub-singleuser"])
    for viewer in VIEWERS:
        assert checked.find("server_missing", "--user=zoe", viewer=viewer)
    [finding] = checked.find("server_missing", "--user=zoe")
    # What stands for the package index here.
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/srv/wheels"}
    checked.machine.run(["sh", "-c", finding["remedy"]], env=offline)
    assert checked.find_problems("--user=zoe") == []
    checked.machine.run(["rm", "-r", "/srv/wheels"])
