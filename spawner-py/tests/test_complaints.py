"""What sudo 1.9 and sudo-rs 0.2 print, word for word, becomes a sentence with the remedy."""

from __future__ import annotations

import re
import time

import pytest

from sudospawner.command import Command
from sudospawner.complaints import explain_complaint

PROGRAM = "/opt/jupyterhub/bin/sudospawner"
COMMAND = Command(("sudo", "-u", "zoe", "-nH", PROGRAM), PROGRAM, "zoe", "zoe")
AS_ROOT = Command(("sudo", "-nH", PROGRAM, "--user=zoe"), PROGRAM, "zoe", "root")

# (code, what was printed, words that the sentence has to have)
SUDO = [
    (
        "sudo_password_required",
        "sudo: a password is required\n",
        [f"ALL=(zoe) NOPASSWD: {PROGRAM}", "/etc/sudoers.d/", f"sudo -nH -u zoe {PROGRAM} --help"],
    ),
    (
        "sudo_password_required",
        "\nWe trust you have received the usual lecture from the local System\n"
        "Administrator. It usually boils down to these three things:\n\n"
        "    #1) Respect the privacy of others.\n\n"
        "sudo: a terminal is required to read the password; either use the -S option to read from "
        "standard input or configure an askpass helper\nsudo: a password is required\n",
        ["NOPASSWD"],
    ),
    (
        "sudo_not_permitted",
        "Sorry, user rhea is not allowed to execute '/opt/jupyterhub/bin/sudospawner' as zoe on "
        "node08.\n",
        ["NOPASSWD", "zoe"],
    ),
    ("sudo_not_permitted", "rhea is not in the sudoers file.\n", ["NOPASSWD"]),
    ("sudo_not_permitted", "Sorry, user rhea may not run sudo on node08.\n", ["NOPASSWD"]),
    (
        "mediator_missing",
        "sudo: /opt/jupyterhub/bin/sudospawner: command not found\n",
        [PROGRAM, "sudospawner_path", "0755"],
    ),
    (
        "mediator_not_executable",
        "sudo: unable to execute /opt/jupyterhub/bin/sudospawner: Permission denied\n",
        ["zoe", f"namei -l {PROGRAM}"],
    ),
    (
        "mediator_not_executable",
        "sudo: unable to execute /opt/jupyterhub/bin/sudospawner: No such file or directory\n",
        ["first line", "No such file"],
    ),
    (
        "sudo_no_new_privileges",
        'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.\n'
        "sudo: If sudo is running in a container, you may need to adjust the container "
        "configuration to disable the flag.\n",
        ["NoNewPrivileges", "allowPrivilegeEscalation"],
    ),
    (
        "sudo_target_unknown",
        "sudo: unknown user zoe\nsudo: error initializing audit plugin sudoers_audit\n",
        ["id zoe"],
    ),
    ("sudo_target_unknown", "sudo: unknown user: zoe\n", ["id zoe"]),
    ("sudo_tty_required", "sudo: sorry, you must have a tty to run sudo\n", ["!requiretty"]),
    (
        "sudo_options_refused",
        "sudo: invalid option -- 'Q'\nusage: sudo -h | -K | -k | -V\n",
        ["sudo_args", "'Q'"],
    ),
    (
        "sudo_configuration_broken",
        "/etc/sudoers.d/sudospawner:4:15: syntax error\nrhea ALL=(zoe NOPASSWD: ALL\n"
        "              ^~~~~~~~~\nsudo: a password is required\n",
        ["visudo -c", "/etc/sudoers.d/sudospawner"],
    ),
    (
        "sudo_not_setuid",
        "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set\n",
        ["nosuid"],
    ),
    (
        "sudo_account_refused",
        'sudo: Account expired or PAM config lacks an "account" section for sudo, contact your '
        "system administrator\nsudo: a password is required\n"[:101],
        ["chage -l"],
    ),
]
SUDO_RS = [
    ("sudo_password_required", "sudo: interactive authentication is required\n", ["NOPASSWD"]),
    ("sudo_not_permitted", "sudo: I'm sorry rhea. I'm afraid I can't do that\n", ["NOPASSWD"]),
    (
        "sudo_not_permitted",
        "sudo: Sorry, user rhea is not allowed to execute '/opt/jupyterhub/bin/sudospawner' as zoe "
        "on node08.\n",
        ["NOPASSWD"],
    ),
    ("mediator_missing", f"sudo: '{PROGRAM}': command not found\n", [PROGRAM]),
    (
        "mediator_not_executable",
        f"sudo: cannot execute '{PROGRAM}': Permission denied (os error 13)\n",
        ["namei"],
    ),
    ("mediator_not_executable", f"sudo: '{PROGRAM}': invalid command\n", ["another machine"]),
    ("sudo_target_unknown", "sudo: user 'zoe' not found\n", ["account database"]),
    ("sudo_not_setuid", "sudo: sudo must be owned by uid 0 and have the setuid bit set\n", []),
    (
        "sudo_no_new_privileges",
        'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.\n',
        ["NoNewPrivileges"],
    ),
]


@pytest.mark.parametrize(("code", "printed", "words"), SUDO + SUDO_RS)
def test_a_complaint_is_recognised_and_its_remedy_is_named(code, printed, words):
    complaint = explain_complaint(printed, COMMAND)
    assert complaint is not None
    assert complaint.code == code
    for word in words:
        assert word in complaint.sentence
    assert not re.search(r"\{\w+\}", complaint.sentence), "a placeholder was left"


def test_in_root_mode_the_rule_names_root_and_the_path_alone():
    for printed in ("sudo: a password is required", "rhea is not in the sudoers file."):
        sentence = explain_complaint(printed, AS_ROOT).sentence
        assert f"`{AS_ROOT.caller} ALL=(root) NOPASSWD: {PROGRAM}`" in sentence
        assert f"run exactly {PROGRAM} as root" in sentence or f"run {PROGRAM} as root" in sentence
        assert "policy.toml" in sentence
        assert "%group" not in sentence
        assert sentence.endswith(f"sudo -nH {PROGRAM} --user=zoe --help")


def test_names_of_directories_are_quoted_for_sudoers_and_for_the_shell():
    name = "AD\\jane doe"
    command = Command(("sudo", "-u", name, "-nH", PROGRAM), PROGRAM, name, name)
    sentence = explain_complaint("sudo: a password is required", command).sentence
    assert f'ALL=("{name}") NOPASSWD: {PROGRAM}`' in sentence
    assert sentence.endswith(f"sudo -nH -u '{name}' {PROGRAM} --help")
    assert f"`id '{name}'`" in explain_complaint(f"sudo: unknown user {name}", command).sentence


def test_what_is_no_complaint_of_sudo_is_not_explained():
    for text in ("", "Traceback: No module named 'jupyterhub'", "sudo: unable to resolve host a"):
        assert explain_complaint(text, COMMAND) is None


def test_braces_in_what_was_caught_are_only_text():
    complaint = explain_complaint("sudo: invalid option -- '{rule}'", COMMAND)
    assert "'{rule}'" in complaint.sentence


@pytest.mark.parametrize(
    "word",
    [
        "sudoers",
        "sudoers:1",
        "sudoers:1: ",
        "sudoers is ",
        "unable to execute ",
        "cannot execute '",
        "user '",
        "invalid option -- '",
        "[sudo",
        "'",
        "\n",
    ],
)
def test_no_text_takes_long_to_be_searched(word):
    began = time.process_time()
    explain_complaint((word * 12_000)[:12_000], COMMAND)
    assert time.process_time() - began < 1
