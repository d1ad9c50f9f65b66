"""`Play`: a sequence of calls and its model, whatever the sequence is."""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import Any

from hypothesis import currently_in_test_context, note
from hypothesis.stateful import RuleBasedStateMachine

from system.model import (
    KINDS,
    STARTED,
    WORDS,
    End,
    Model,
    Server,
    check_form,
    list_tellings,
    name_unit,
)
from system.stage import Stage

AT_ONCE = {"interrupt_seconds": 0, "term_seconds": 0}
# What comes after the right `started` to make it a wrong one.
WRONG = "1"
# A slow computer is no failure.
PATIENCE = 120


class Play(RuleBasedStateMachine):
    """What the rules of a sequence are made of, and what has to hold at its end."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        if not stage.is_clear:
            stage.do("reset")
        stage.is_clear = False
        self.model = Model(stage.uids, stage.units, stage.hooked, stage.do("list_signals"))
        self.story: list[str] = []

    # Calls

    def call_for(
        self,
        crowd: list[str],
        requests: list[dict[str, Any]],
        end: str = "reply",
        seconds: float = 0,
        *,
        cut: bool = False,
    ) -> list[dict[str, Any]]:
        """Have the Hub make a call for each of these users, all at once: see `players.call`.

        `cut`: only half of each request is written.
        """
        calls = []
        for user, request in zip(crowd, requests, strict=True):
            words = [str(word) for word in self.stage.mediator.list_words(user)]
            words += [f"--action={request['action']}", f"--server-name={request['server_name']}"]
            text = json.dumps(request)
            text = text[: len(text) // 2] if cut else text
            calls.append({"words": words, "text": text, "end": end, "seconds": seconds})
        *answers, log = self.stage.do("call", calls=calls) or [{"log": []}]
        for user, request, answer in itertools.zip_longest(crowd, requests, answers):
            self.story.append(f"{end}: {user}, {request}\n    {answer}")
            # Not if a sequence is played that was printed.
            if currently_in_test_context():
                note(str(answer))
        self.story += log["log"]
        return answers

    def read(self, action: str, answer: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
        """The reply in what came back from a call, and the exit status."""
        *events, reply = [json.loads(line) for line in answer["lines"]]
        expected = ["hook", "hook", "started"] if self.stage.hooked else ["started"]
        assert [event["event"] for event in events] in ([], expected)
        check_form(action, reply, units=self.stage.units, hooked=self.stage.hooked)
        hooks = [hook["status"] for hook in reply.get("hooks", [])]
        assert hooks == ["ok"] * len(hooks)
        return reply, answer["status"]

    def ask(
        self, crowd: list[str], action: str, *, server_name: str, **about: Any
    ) -> list[tuple[str, dict[str, Any]]]:
        """Call about a process for each of these users, as if it were a server of theirs."""
        requests = []
        for user in crowd:
            unit = {"unit": name_unit(user, server_name)} if self.stage.units else {}
            requests.append({"action": action, "server_name": server_name, **unit, **about})
        told = []
        for user, answer in zip(crowd, self.call_for(crowd, requests), strict=True):
            reply, status = self.read(action, answer)
            assert (reply["ok"], status) == (True, 0)
            told.append((user, reply))
        return told

    def describe_spawn(self, name: str, *words: str) -> dict[str, Any]:
        """The request for a server that is up when it listens, with its port as the last word."""
        port = next(self.stage.ports)
        return {
            **{"action": "spawn", "args": [*words, str(port)], "env": {}, "server_name": name},
            "wait": {"port": port, "seconds": 600},
        }

    def describe_server(self, name: str, kind: str, **more: Any) -> dict[str, Any]:
        """The request for a server that will listen."""
        return {**self.describe_spawn(name, *KINDS[kind].words, *WORDS, "listen"), **more}

    def describe_stop(self, server: Server) -> dict[str, Any]:
        """The request to end a server without waiting for it."""
        about = {"server_name": server.name, "pid": server.pid, "started": server.started}
        return {"action": "stop", **about, **AT_ONCE}

    def welcome(
        self, user: str, request: dict[str, Any], kind: str, answer: dict[str, Any]
    ) -> Server:
        """The Hub is told of a server."""
        name = request["server_name"]
        reply, status = self.read("spawn", answer)
        assert reply["ok"], reply
        assert status in (0, None)
        assert (reply["listening"], reply["dropped_env"]) == (True, [])
        assert len(reply["hooks"]) == (1 if self.stage.hooked else 0)
        assert reply.get("unit") == (name_unit(user, name) if self.stage.units else None)
        assert STARTED.fullmatch(reply["started"]), reply
        self.model.spawn(user, name)
        server = Server(user, name, KINDS[kind], reply["pid"], reply["started"])
        self.model.servers.append(server)
        return server

    def end(self, servers: list[Server]) -> None:
        """Have nothing of these servers left, whatever has become of them."""
        owners = [server.user for server in servers]
        requests = [self.describe_stop(server) for server in servers]
        for answer in self.call_for(owners, requests) if servers else []:
            reply, status = self.read("stop", answer)
            assert (reply["alive"], status) == (False, 0)
        for server in servers:
            server.stop()

    def ask_about(
        self, server: Server, crowd: list[str], action: str, *, fits: bool, **more: Any
    ) -> list[tuple[str, dict[str, Any]]]:
        """Call about a server in these users' names; `fits`: about this very process."""
        started = server.started + ("" if fits else WRONG)
        about = {"server_name": server.name, "pid": server.pid, "started": started, **more}
        return self.ask(crowd, action, **about)

    def check_status(self, server: Server, crowd: list[str], *, fits: bool) -> None:
        """A server is there for its own user alone."""
        for user, reply in self.ask_about(server, crowd, "status", fits=fits):
            assert reply["alive"] is server.is_for(user, fits)
            if reply["alive"]:
                assert reply["uid"] == self.stage.uids[user]
                # A unit has the hook's daemon, too.
                daemons = 1 if self.stage.units and self.stage.hooked else 0
                assert reply["processes"] == 1 + server.kind.children + daemons
            elif user == server.user and fits and server.end and self.stage.units:
                told = End(reply["exit"], reply["signal"])
                assert told in list_tellings(server.end, units=True)
                # systemd forgets a unit whose end has been told.
                server.stop()

    # The end

    def teardown(self) -> None:
        """Check the end of a sequence, and tell the story of the first one that fails."""
        try:
            if sys.exception() is None:
                self.check_the_end()
        finally:
            # When hypothesis plays it again, it may end otherwise. What it gives up has not failed.
            if isinstance(sys.exception(), Exception) and not self.stage.has_failed:
                self.stage.has_failed = True
                print("\n".join(self.story))

    def check_the_end(self) -> None:
        """What there is is what the model says, and nothing once the Hub has ended its servers."""
        self.expect_the_model()
        for server in self.model.servers:
            self.check_status(server, list(self.model.uids), fits=True)
        # Those of which nothing is left first: that does no harm to the others.
        left = [server for server in self.model.servers if server.runs or server.end]
        for servers in ([one for one in self.model.servers if one not in left], left):
            self.end(servers)
            self.expect_the_model()
        assert self.stage.do("list_signals") == self.model.signals
        self.stage.is_clear = True

    def expect_the_model(self) -> None:
        """Wait until what is there is exactly what the model says."""
        deadline = time.monotonic() + PATIENCE
        while differences := self.model.compare(self.stage.do("look", units=self.stage.units)):
            assert time.monotonic() < deadline, "; ".join(differences)
            time.sleep(0.01)
