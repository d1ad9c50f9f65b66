"""A user's account: its name, its uid, and the environment of its server."""

from __future__ import annotations

import pwd
from typing import Any, Callable

from .failures import make_failure
from .printable import escape_control_characters


def refuse_name(name: str) -> None:
    """Raise a failure if sudo would read the name as a uid or an option."""
    if not name or name[0] in "#-":
        raise make_failure(
            "target_unknown",
            f"{name!r} cannot be the name of an account: rename the user, or map the name in the "
            "authenticator.",
        )


def find_uid(name: str) -> int | None:
    """Return the uid of an account, or None if the account does not exist."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, TypeError):
        return None


def collect_environment(
    get_env: Callable[[], dict[str, Any]], name: str, warn: Callable[[str], None]
) -> dict[str, str]:
    """Return the environment variables that a request can carry.

    Raises a failure if the account does not exist.

    :param get_env: returns the environment; raises KeyError if the account does not exist.
    :param name: the account's name.
    :param warn: called with one sentence for each variable that is left out.
    """
    sendable = {}
    for variable, value in _get_env_of_account(get_env, name).items():
        text = _as_sendable(variable), _as_sendable(value)
        if text[0] and text[1] is not None and "=" not in text[0]:
            sendable[text[0]] = text[1]
        else:
            warn(
                f"the environment variable {escape_control_characters(str(variable))} is not "
                "passed on: its name or value is not text"
            )
    return sendable


def _get_env_of_account(get_env: Callable[[], dict[str, Any]], name: str) -> dict[str, Any]:
    try:
        return get_env()
    except KeyError as error:
        if find_uid(name) is not None:
            raise
        raise make_failure(
            "target_unknown",
            f"There is no account named {name} on this machine: create it, or check with `getent "
            f"passwd {name}` why the directory service does not know it.",
        ) from error


def _as_sendable(value: Any) -> str | None:
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # not UTF-8, from the Hub's own environment
        return None
    return None if value is None or "\0" in text else text
