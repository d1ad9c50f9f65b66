"""Translates error messages of sudo and sudo-rs into sentences that say what to fix."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from .command import Command


class Complaint(NamedTuple):
    """Why sudo did not run the mediator."""

    #: A stable code, for programs and metrics.
    code: str
    #: The cause and the remedy, for a person.
    sentence: str


# The first pattern that matches wins, so specific patterns come first. `{0}` is the text that the
# pattern captured. With -n, sudo reports "a password is required" for anything that no NOPASSWD
# rule permits. The text may come from a server, which may be hostile. So every repetition is
# bounded and words match only from their start; otherwise a crafted text could keep the Hub busy
# for hours.
_ADD_RULE = (
    "add the rule `{rule}` with `visudo -f /etc/sudoers.d/sudospawner` ({advice}), then try as "
    "{caller}: {trial}"
)
_SUDOERS = r"(?<!\S)(\S{0,99}sudoers\S{0,99}?)"
_COMPLAINTS = [
    (
        "sudo_no_new_privileges",
        r'"no new privileges" flag is set',
        'sudo cannot work in the Hub\'s service or container, since its "no new privileges" flag '
        "is set. Remove NoNewPrivileges=yes (and the options that imply it, such as "
        "SystemCallFilter= and RestrictNamespaces= without CAP_SYS_ADMIN) from the Hub's unit, or "
        "allowPrivilegeEscalation: false from its container.",
    ),
    (
        "sudo_not_setuid",
        r"must be owned by uid 0 and have the setuid bit set|effective uid is not 0",
        "sudo does not run as root here: its file has lost the setuid bit, or is on a file system "
        "mounted with nosuid. Reinstall sudo, or mount that file system without nosuid.",
    ),
    (
        "sudo_tty_required",
        r"you must have a tty to run sudo",
        "sudo wants a terminal, which a Hub does not have: add the line `Defaults!{program} "
        "!requiretty` with `visudo -f /etc/sudoers.d/sudospawner`.",
    ),
    (
        "sudo_target_unknown",
        r"unknown user:? \S|user '[^']{0,99}' not found",
        "The account database of this machine has no account named {target}. Create it, or check "
        "with `id {word}` whether the directory service knows it and answers.",
    ),
    (
        "sudo_options_refused",
        r"(invalid option -- '?[^'\n]{1,99}'?|unrecognized option '[^']{0,99}')"
        r"|you are not (?:allowed|permitted) to (?:use|set|preserve)",
        "sudo does not accept the arguments in SudoSpawner.sudo_args ({0}). Use the default, "
        "['-nH'].",
    ),
    (
        "mediator_missing",
        r"command not found",
        "sudo finds no executable file {program}. Install sudospawner-rs there with mode 0755, or "
        "set SudoSpawner.sudospawner_path to the full path of the one in sudoers.",
    ),
    (
        "mediator_not_executable",
        r"unable to execute [^\n]{0,400}: Permission denied"
        r"|cannot execute '[^\n]{0,400}': Permission denied",
        "The account {runas} cannot execute {program}: a directory above it is closed to other "
        "accounts (`namei -l {program}` shows which; a virtualenv in someone's home is the usual "
        "reason). Install the Hub's environment where all can read it, such as /opt/jupyterhub.",
    ),
    (
        "mediator_not_executable",
        r"(unable to execute [^\n]{0,400}|cannot execute '[^\n]{0,400}"
        r"|'[^\n']{0,400}': invalid command)",
        "sudo could not execute {program} ({0}). If it is a script, its first line names a program "
        "that does not exist; otherwise it was built for another machine.",
    ),
    (
        "sudo_configuration_broken",
        _SUDOERS + r":\d{1,9}(?::\d{1,9})?:? (?:syntax error|.{0,99}expected)"
        r"|parse error in (\S{1,99})|syntax error near|no valid sudoers sources found"
        r"|invalid sudoers|" + _SUDOERS + r" is (?:(?:world|group) writable|owned by uid)",
        "sudo cannot use its configuration ({0}). Run `visudo -c` as root and repair the file "
        "that it names.",
    ),
    (
        "sudo_password_required",
        r"a password is required|interactive authentication is required"
        r"|terminal is required to (?:read the password|authenticate)|no askpass program"
        r"|incorrect (?:password|authentication) attempts?|\[sudo[^\]]{0,99}\] password for",
        "sudo asks {caller} for a password, because no NOPASSWD rule in sudoers lets {caller} run "
        "exactly {program} as {runas}: " + _ADD_RULE,
    ),
    (
        "sudo_not_permitted",
        r"is not in the sudoers file|is not allowed to execute|may not run|is not allowed to run"
        r"|I'm afraid I can't do that",
        "sudo does not allow {caller} to run {program} as {runas}: " + _ADD_RULE,
    ),
    (
        "sudo_account_refused",
        r"account validation failure|[Aa]ccount expired|PAM account management error"
        r"|PAM error|PAM authentication error|unable to (?:initialize|open) PAM",
        "PAM refused the call of sudo ({0}). Check /etc/pam.d/sudo, and that the accounts {caller} "
        "and {runas} are not locked or expired (`chage -l`).",
    ),
]


def explain_complaint(stderr: str, command: Command) -> Complaint | None:
    """Recognise an English error message of sudo or sudo-rs in the mediator's stderr.

    :param stderr: what was written, or the end of it.
    :returns: None if no known message is found.
    """
    for code, pattern, sentence in _COMPLAINTS:
        match = re.search(pattern, stderr)
        if match:
            caught = next((group for group in match.groups() if group), match.group())
            return Complaint(code, _fill(sentence, command, caught))
    return None


def _fill(sentence: str, command: Command, caught: str) -> str:
    words = {
        "{caller}": command.caller,
        "{target}": command.target,
        "{word}": shlex.quote(command.target),
        "{program}": command.program,
        "{runas}": command.runas,
        "{rule}": command.rule,
        "{advice}": command.advice,
        "{trial}": command.trial,
        "{0}": caught,
    }
    # In one pass, because the captured text may contain braces.
    return re.sub(r"\{\w+\}", lambda found: words[found.group()], sentence)
