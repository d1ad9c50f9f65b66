"""The version of the installed distribution, for programs that look at the module."""

from __future__ import annotations

from importlib import metadata

try:
    __version__ = metadata.version("sudospawner-rs")
except metadata.PackageNotFoundError:  # The module is used from a source tree.
    __version__ = "0.0.0.dev0"

#: The version as a tuple of numbers and words, e.g. ``(1, 2, 3, "dev")``.
version_info = tuple(int(part) if part.isdigit() else part for part in __version__.split("."))
