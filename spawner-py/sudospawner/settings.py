"""Settings of LocalProcessSpawner that mean something else here, or nothing."""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING, Any

from .failures import make_failure
from .printable import escape_control_characters

if TYPE_CHECKING:
    from .spawner import SudoSpawner

# There is a spawner for each server; the same advice for each of them would bury it.
_warned: set[str] = set()

_SIBLING = (
    "it is ignored: the server is always the sudospawner-singleuser or jupyterhub-singleuser "
    "beside sudospawner, so that sudoers permits nothing else. Put a script of that first name "
    "there to change how servers start"
)
_NOT_ENFORCED = (
    'it is not enforced: in mode "user" servers run as processes beside the Hub, which nothing '
    'limits as a whole. In mode "root", with the systemd launcher in the policy, it is'
)
_IGNORED = {
    "cmd": _SIBLING,
    "shell_cmd": _SIBLING,
    "popen_kwargs": "it is ignored: the server is not a child of the Hub",
}
_IGNORED_IN_USER_MODE = {"mem_limit": _NOT_ENFORCED, "cpu_limit": _NOT_ENFORCED}


def warn_about_ignored_settings(spawner: SudoSpawner) -> None:
    """Log one warning for each setting that is made and has no effect, once in a Hub's life."""
    of_user_mode = _IGNORED_IN_USER_MODE if spawner.mode == "user" else {}
    for name, consequence in {**_IGNORED, **of_user_mode}.items():
        trait = spawner.traits()[name]
        if name in _warned or getattr(spawner, name) in (trait.default(spawner), None):
            continue
        _warned.add(name)
        spawner.log.warning("%s.%s is set, but %s.", type(spawner).__name__, name, consequence)


def get_limits(spawner: SudoSpawner) -> dict[str, Any]:
    """Return the field of a spawn with the limits that are asked for, if any can be.

    Where the mediator cannot enforce them, or the policy's are lower, it refuses the spawn.
    """
    asked = {"memory": spawner.mem_limit, "cpus": spawner.cpu_limit}
    limits = {name: limit for name, limit in asked.items() if limit}
    return {"limits": limits} if limits and spawner.mode == "root" else {}


def refuse_internal_ssl(spawner: SudoSpawner) -> None:
    """Raise a failure if the Hub encrypts its inner connections."""
    if spawner.internal_ssl:
        raise make_failure(
            "internal_ssl_unsupported",
            "SudoSpawner cannot hand certificates to the user's account yet: set "
            "c.JupyterHub.internal_ssl = False.",
        )


def refuse_name(name: str) -> None:
    """Raise a failure for a name that sudo would take for a uid or an option."""
    if not name or name[0] in "#-":
        raise make_failure(
            "target_unknown",
            f"{name!r} cannot be the name of an account: rename the user, or map the name in the "
            "authenticator.",
        )


def find_uid(name: str) -> int | None:
    """Return the uid of an account, or None if there is none (any more)."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, TypeError):
        return None


def get_env_of_account(spawner: SudoSpawner) -> dict[str, Any]:
    """Return the environment of the server, or raise a failure if there is no such account."""
    try:
        return spawner.get_env()
    except KeyError as error:
        name = spawner.user.name
        if find_uid(name) is not None:
            raise
        raise make_failure(
            "target_unknown",
            f"There is no account named {name} on this machine: create it, or check with `getent "
            f"passwd {name}` why the directory service does not know it.",
        ) from error


def select_sendable(env: dict[str, Any], spawner: SudoSpawner) -> dict[str, str]:
    """Return the variables that a request can carry; a warning names each of the others.

    :param env: what ``get_env`` returned; values that are no strings are written as such.
    """
    sendable = {}
    for name, value in env.items():
        text = _as_sendable(name), _as_sendable(value)
        if text[0] and text[1] is not None and "=" not in text[0]:
            sendable[text[0]] = text[1]
        else:
            spawner.log.warning(
                "%s: the environment variable %s is not passed on: its name or value is not text",
                spawner._log_name,
                escape_control_characters(str(name)),
            )
    return sendable


def _as_sendable(value: Any) -> str | None:
    text = str(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # bytes from the Hub's own environment that are not UTF-8
        return None
    return None if value is None or "\0" in text else text
