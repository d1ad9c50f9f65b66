"""Settings of LocalProcessSpawner that mean something else here, or nothing."""

from __future__ import annotations

from jupyterhub.spawner import LocalProcessSpawner

from .failures import make_failure

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


def warn_about_ignored_settings(spawner: LocalProcessSpawner, mode: str) -> None:
    """Log one warning for each setting that is made and has no effect, once in a Hub's life.

    :param spawner: whose settings they are, and whose log has the warnings.
    :param mode: ``user`` or ``root``: what SudoSpawner.mode says.
    """
    of_user_mode = _IGNORED_IN_USER_MODE if mode == "user" else {}
    for name, consequence in {**_IGNORED, **of_user_mode}.items():
        trait = spawner.traits()[name]
        if name in _warned or getattr(spawner, name) in (trait.default(spawner), None):
            continue
        _warned.add(name)
        spawner.log.warning("%s.%s is set, but %s.", type(spawner).__name__, name, consequence)


def refuse_internal_ssl(internal_ssl: bool) -> None:
    """Raise a failure if the Hub encrypts its inner connections."""
    if internal_ssl:
        raise make_failure(
            "internal_ssl_unsupported",
            "SudoSpawner cannot hand certificates to the user's account yet: set "
            "c.JupyterHub.internal_ssl = False.",
        )
