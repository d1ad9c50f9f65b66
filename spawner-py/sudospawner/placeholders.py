"""What of a server's arguments and environment only the node of its job can fill in: the port."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit, urlunsplit

from .failures import make_failure

# The node replaces it in each argument and each value of the environment.
_PORT = "{port}"
_SERVICE_URL = "JUPYTERHUB_SERVICE_URL"
_API_URL = "JUPYTERHUB_API_URL"
# The server is for a Hub on another machine.
_ANYWHERE = "0.0.0.0"  # noqa: S104


def replace_port_in_args(args: Iterable[str], port: int) -> list[str]:
    """Return the arguments with the node's port in place of this one, as in ``--port=N``.

    :param port: the port that the arguments were made with.
    """
    option = re.compile(rf"(--(?:\w+\.)?port=){port}")
    return [option.sub(rf"\1{_PORT}", arg) if option.fullmatch(arg) else arg for arg in args]


def replace_port_in_env(env: Mapping[str, str], *, keep_ip: bool) -> dict[str, str]:
    """Return the environment with the node's port in the address where the server is to listen.

    :param keep_ip: whether the address there was chosen for servers on nodes; if not, the server
        listens on all addresses of its node.
    :raises SpawnException: (before JupyterHub 6 HTTPError) if the Hub's address is one that no node
        can reach.
    """
    _require_reachable_hub(env.get(_API_URL, ""))
    url = env.get(_SERVICE_URL)
    if not url:
        return dict(env)
    parts = urlsplit(url)
    host = re.sub(r":\d*\Z", "", parts.netloc) if keep_ip else _ANYWHERE
    return {**env, _SERVICE_URL: urlunsplit(parts._replace(netloc=f"{host}:{_PORT}"))}


def _require_reachable_hub(url: str) -> None:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return
    if not is_loopback(host):
        return
    raise make_failure(
        "hub_unreachable",
        f"Servers run on the nodes of a cluster, and no node can reach the Hub at {url}. Set "
        "c.JupyterHub.hub_ip = '0.0.0.0', and c.JupyterHub.hub_connect_ip to an address or a name "
        "of this machine that nodes can reach; then restart the Hub.",
    )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means the machine itself on every machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
