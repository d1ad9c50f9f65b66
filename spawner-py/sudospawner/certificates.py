"""The certificate of a server, with ``internal_ssl``: its names, and its way to the account."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Mapping
from inspect import isawaitable
from pathlib import Path
from typing import Any, Callable

from jupyterhub.spawner import Spawner

from .errors import MediatorError
from .failures import make_failure
from .reply import get_error
from .subcommand import run_subcommand

# The server's own process replaces it by the folder that it has made.
_FOLDER = "{files}"
_NAMES = {"keyfile": "server.key", "certfile": "server.crt", "cafile": "authorities.crt"}
# Slurm's programs give up after 20 seconds if the controller does not answer.
_TIME_LIMIT = 60.0


def pack(paths: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the ``files`` of a request, and the paths at which the server will find them.

    :param paths: the Hub's files, by what they are: ``keyfile``, ``certfile``, ``cafile``.
    """
    texts = {_NAMES[kind]: Path(paths[kind]).read_text() for kind in _NAMES}
    return texts, {kind: f"{_FOLDER}/{name}" for kind, name in _NAMES.items()}


async def create_for_nodes(
    spawner: Spawner, create: Callable[[], Awaitable[dict[str, str]]]
) -> dict[str, str]:
    """Have a certificate made that is for every node of the cluster, too.

    The Hub compares the address that it connects to with the certificate, and which node the
    server will be on is not known yet.

    :param spawner: has ``ssl_alt_names`` and the mediator's path.
    :param create: makes the certificate, and returns the paths of the Hub's files.
    :raises SpawnException: (before JupyterHub 6 HTTPError) if Slurm does not name its nodes.
    """
    own = spawner.ssl_alt_names
    names = own(spawner) if callable(own) else own
    if isawaitable(names):
        names = await names
    spawner.ssl_alt_names = [*names, *await _find_names(spawner.sudospawner_path)]
    try:
        return await create()
    finally:
        spawner.ssl_alt_names = own


async def _find_names(program: str) -> list[str]:
    """Return the names of all nodes as a certificate has them: ``IP:10.20.0.1``, ``DNS:node1``."""
    try:
        reply = await run_subcommand(program, "jobs", "--nodes", time_limit=_TIME_LIMIT)
        nodes: Any = reply.get("nodes")
        if not isinstance(nodes, list) or not all(isinstance(node, str) for node in nodes):
            raise MediatorError("slurm_unavailable", get_error(reply))
    except MediatorError as error:
        raise make_failure(
            "slurm_unavailable",
            f"No certificate can be made while Slurm does not name its nodes: {error.sentence}",
        ) from error
    return [f"{'IP' if _is_address(node) else 'DNS'}:{node}" for node in nodes]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
