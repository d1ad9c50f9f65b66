"""`Kernel`: runs code in a user's server, over the websocket that JupyterLab uses."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

import websocket

from machine.hub import Hub, HubError


class Kernel:
    """A kernel in the server `name` of `user`: a context manager that deletes the kernel."""

    def __init__(self, hub: Hub, user: str, name: str = "", *, seconds: float = 120) -> None:
        self._hub = hub
        self._base = f"/user/{user}/{name + '/' if name else ''}api/kernels"
        self._session = uuid.uuid4().hex
        self.id: str = hub.request("POST", self._base, {"name": "python3"})["id"]
        """The kernel's id in the server."""
        url = hub.url.replace("http", "ws", 1) + f"{self._base}/{self.id}/channels"
        with hub.machine.network():
            self._socket = websocket.create_connection(
                url, timeout=seconds, header=[f"Authorization: token {hub.token}"]
            )

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        # The server, and with it the kernel, may have been stopped already.
        with suppress(HubError, OSError):
            self._hub.request("DELETE", f"{self._base}/{self.id}")

    def run(self, code: str) -> str:
        """Run a cell and return what it printed; `HubError` with the traceback if it failed."""
        identity = uuid.uuid4().hex
        self._socket.send(json.dumps(self._make_execute_request(identity, code)))
        printed = ""
        while True:
            message = json.loads(self._socket.recv())
            if message["parent_header"].get("msg_id") != identity:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                printed += content["text"]
            elif kind == "error":
                raise HubError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return printed

    def _make_execute_request(self, identity: str, code: str) -> dict[str, Any]:
        return {
            "channel": "shell",
            "header": {
                "msg_id": identity,
                "msg_type": "execute_request",
                "session": self._session,
                "username": "",
                "version": "5.3",
            },
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "allow_stdin": False},
        }
