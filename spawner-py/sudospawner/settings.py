"""Settings of LocalProcessSpawner that mean something else here, or have no effect."""

from __future__ import annotations

from jupyterhub.spawner import LocalProcessSpawner

from .failures import make_failure

# Each server has its own spawner; repeating the warning for each would flood the log.
_warned: set[str] = set()

_SIBLING = (
    "it is ignored: the server is always the sudospawner-singleuser or jupyterhub-singleuser "
    "beside sudospawner, so that sudoers permits nothing else. To change how servers start, put a "
    "script named sudospawner-singleuser there"
)
_NOT_ENFORCED = (
    'it is not enforced: in mode "user" servers run as processes beside the Hub, and nothing '
    'limits a server as a whole. Mode "root" with the systemd launcher in the policy enforces it'
)
_IGNORED = {
    "cmd": _SIBLING,
    "shell_cmd": _SIBLING,
    "popen_kwargs": "it is ignored: the server is not a child of the Hub",
}
_IGNORED_IN_USER_MODE = {"mem_limit": _NOT_ENFORCED, "cpu_limit": _NOT_ENFORCED}


def warn_about_ignored_settings(spawner: LocalProcessSpawner, mode: str) -> None:
    """Log a warning for each setting that has no effect, once in the Hub's lifetime.

    :param spawner: has the settings, and the log for the warnings.
    :param mode: the value of SudoSpawner.mode: ``user`` or ``root``.
    """
    of_user_mode = _IGNORED_IN_USER_MODE if mode == "user" else {}
    for name, consequence in {**_IGNORED, **of_user_mode}.items():
        trait = spawner.traits()[name]
        if name in _warned or getattr(spawner, name) in (trait.default(spawner), None):
            continue
        _warned.add(name)
        spawner.log.warning("%s.%s is set, but %s.", type(spawner).__name__, name, consequence)


def refuse_internal_ssl(internal_ssl: bool) -> None:
    """Raise a failure if ``internal_ssl`` is on."""
    if internal_ssl:
        raise make_failure(
            "internal_ssl_unsupported",
            "SudoSpawner cannot give certificates to the user's account yet: set "
            "c.JupyterHub.internal_ssl = False.",
        )
