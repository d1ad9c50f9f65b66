"""The version of the installed distribution, as attributes of the module."""

from __future__ import annotations

from importlib import metadata

try:
    __version__ = metadata.version("sudospawner-rs")
except metadata.PackageNotFoundError:  # The module runs from a source tree.
    __version__ = "0.0.0.dev0"

#: The version as a tuple of integers and strings, such as ``(1, 2, 3, "dev0")``.
version_info = tuple(int(part) if part.isdigit() else part for part in __version__.split("."))
