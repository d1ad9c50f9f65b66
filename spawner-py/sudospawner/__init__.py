"""JupyterHub without root: sudo starts each user's server as that user.

``SudoSpawner`` is the class for ``c.JupyterHub.spawner_class`` (its entry point is ``sudo``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import __version__, version_info

if TYPE_CHECKING:
    from .spawner import SudoSpawner

__all__ = ["SudoSpawner", "__version__", "version_info"]


def __getattr__(name: str) -> Any:
    # The class is imported lazily. A Hub imports it while it reads its configuration, which is the
    # only moment of the Hub's start that a spawner class can observe: see checking.py.
    if name != "SudoSpawner":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .checking import check_when_the_hub_starts
    from .spawner import SudoSpawner

    check_when_the_hub_starts(SudoSpawner)
    return SudoSpawner
