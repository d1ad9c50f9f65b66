"""JupyterHub without root: every user's server is started as that user, through sudo.

``SudoSpawner`` is the class for ``c.JupyterHub.spawner_class`` (its entry point is ``sudo``).
"""

from .spawner import SudoSpawner
from .version import __version__, version_info

__all__ = ["SudoSpawner", "__version__", "version_info"]
