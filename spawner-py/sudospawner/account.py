"""A user's account: its name, and the environment of its server."""

from __future__ import annotations

import pwd
import shlex
import unicodedata
from typing import Any, Callable

from .failures import make_failure
from .printable import escape_control_characters


def is_name(text: str) -> bool:
    """Whether this can be the name of an account, by the rule of the mediator in root mode.

    sudo, too, would read some names as a uid or an option.
    """
    return (
        text != ""
        and text[0] not in "-#+% "
        and text[-1] != " "
        and not any(
            character in ":/,"
            or (character.isspace() and character != " ")
            or unicodedata.category(character) == "Cc"
            for character in text
        )
    )


def refuse_name(name: str) -> None:
    """Raise a failure for what cannot be the name of an account."""
    if not is_name(name):
        raise make_failure(
            "target_unknown",
            f"{name!r} cannot be the name of an account: rename the user, or map the name in the "
            "authenticator.",
        )


def add_account(
    env: dict[str, Any], name: str, account: pwd.struct_passwd | None
) -> dict[str, Any]:
    """Add USER, HOME and SHELL to an environment, as LocalProcessSpawner.user_env does.

    :raises KeyError: if there is no account.
    """
    if account is None:
        raise KeyError(f"there is no account named {name!r}")
    added = {"USER": name, "HOME": account.pw_dir, "SHELL": account.pw_shell}
    env.update({variable: value for variable, value in added.items() if value})
    return env


def collect_environment(
    get_env: Callable[[], dict[str, Any]],
    name: str,
    account: pwd.struct_passwd | None,
    warn: Callable[[str], None],
) -> dict[str, str]:
    """Return the environment variables that a request can carry.

    Raises a failure if the account does not exist.

    :param get_env: returns the environment; raises KeyError if the account does not exist.
    :param name: the account's name.
    :param account: the account, or None if it does not exist.
    :param warn: called with one sentence for each variable that is left out.
    """
    sendable = {}
    for variable, value in _get_env_of_account(get_env, name, account).items():
        text = _as_sendable(variable), _as_sendable(value)
        if text[0] and text[1] is not None and "=" not in text[0]:
            sendable[text[0]] = text[1]
        else:
            warn(
                f"the environment variable {escape_control_characters(str(variable))} is not "
                "passed on: its name or value is not text"
            )
    return sendable


def _get_env_of_account(
    get_env: Callable[[], dict[str, Any]], name: str, account: pwd.struct_passwd | None
) -> dict[str, Any]:
    try:
        return get_env()
    except KeyError as error:
        if account is not None:
            raise
        raise make_failure(
            "target_unknown",
            f"The account database of this machine has no account named {name}: create it, or "
            f"check with `id {shlex.quote(name)}` whether the directory service knows it and "
            "answers.",
        ) from error


def _as_sendable(value: Any) -> str | None:
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # not UTF-8, from the Hub's own environment
        return None
    return None if value is None or "\0" in text else text
