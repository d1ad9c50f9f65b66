"""Sequences of calls that hypothesis invents, checked against the model after each."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, initialize, multiple, precondition, rule

from system.model import ENDS, KINDS, WORDS, End, Server, list_tellings
from system.play import AT_ONCE, WRONG, Play
from system.stage import ACCOUNTS

users = st.sampled_from(ACCOUNTS)
crowds = st.lists(users, min_size=1, unique=True)
names = st.sampled_from(("", "gpu"))
# What ignores SIGTERM takes seconds to end, so there is little of it,
kinds = st.sampled_from(("plain", "parent") * 3 + ("stubborn",))
# and none where it would always be so.
quick_kinds = st.sampled_from(("plain", "parent"))
ends = st.sampled_from(sorted(ENDS))
moments = st.integers(0, 30).map(lambda number: number / 200)
actions = st.sampled_from(("kill", "status", "stop"))


def has_running(play: Play) -> bool:
    """Whether there is a server that runs."""
    return any(server.runs for server in play.model.servers)


def can_lose_its_supervisor(play: Play, server: Server) -> bool:
    """Whether it has one, and what becomes of the server without it is certain."""
    # Without a keeper, nobody would end the children of a server that ends by itself after that.
    is_certain = play.stage.hooked or not server.kind.children
    return server.runs and server.is_supervised and not play.stage.units and is_certain


def has_units(play: Play) -> bool:
    """Whether servers live in units."""
    return play.stage.units


class Calls(Play):
    """A Hub, three users and their servers; each rule is one thing that somebody does.

    A sequence that fails is printed as calls of the rules. To play it again, or for ever, make it a
    test with a stage: `state = Calls(stage)`, and then the lines that were printed.
    """

    servers = Bundle("servers")

    # Spawns

    @initialize(target=servers, name=names, kind=kinds)
    def begin(self, name: str, kind: str) -> MultipleResults[Server]:
        """Everybody has a server, so that there is something to happen to."""
        return self.spawn(crowd=list(ACCOUNTS), name=name, kind=kind, events=False)

    @rule(target=servers, crowd=crowds, name=names, kind=kinds, events=st.booleans())
    def spawn(
        self, crowd: list[str], name: str, kind: str, events: bool
    ) -> MultipleResults[Server]:
        """The Hub starts servers of these users, all at once."""
        requests = [self.describe_server(name, kind, events=events) for _ in crowd]
        return multiple(*self.start(crowd, requests, kind, "reply"))

    @rule(target=servers, user=users, name=names, kind=kinds)
    def spawn_and_die(self, user: str, name: str, kind: str) -> Server:
        """The Hub has read the reply, and dies."""
        [server] = self.start([user], [self.describe_server(name, kind)], kind, "die once replied")
        return server

    def start(
        self, crowd: list[str], requests: list[dict[str, Any]], kind: str, end: str
    ) -> list[Server]:
        """Start a server of each of these users, and be told of it."""
        answers = self.call_for(crowd, requests, end)
        each = zip(crowd, requests, answers, strict=True)
        return [self.welcome(user, request, kind, answer) for user, request, answer in each]

    @rule(user=users, name=names, kind=kinds, number=ends)
    def spawn_what_ends(self, user: str, name: str, kind: str, number: int) -> None:
        """The server ends before it listens, by a signal or an exit; the Hub is told how."""
        words = (*KINDS[kind].words, *WORDS, "die", str(number), "exit", "5", "listen")
        [answer] = self.call_for([user], [self.describe_spawn(name, *words)])
        reply, status = self.read("spawn", answer)
        assert (reply["ok"], reply.get("code"), status) == (False, "exited_early", 0)
        end = End(5, None) if number in KINDS[kind].ignores else ENDS[number]
        told = End(reply["exit"], reply["signal"])
        assert told in list_tellings(end, units=self.stage.units)
        self.model.spawn(user, name)

    @rule(user=users, name=names, kind=quick_kinds, end=st.sampled_from(("die", "close")))
    def spawn_unread(self, user: str, name: str, kind: str, end: str) -> None:
        """The server, or its hook, runs when the Hub dies, or closes stdout."""
        request = self.describe_spawn(name, *KINDS[kind].words, "say")
        self.call_for([user], [{**request, "events": True}], f"{end} once started")
        self.model.spawn(user, name)

    @rule(crowd=crowds, name=names, kind=quick_kinds, seconds=moments)
    def spawn_and_die_meanwhile(
        self, crowd: list[str], name: str, kind: str, seconds: float
    ) -> None:
        """The Hub dies at some moment, and the servers would never have listened."""
        requests = [self.describe_spawn(name, *KINDS[kind].words, "say") for _ in crowd]
        self.call_for(crowd, requests, "die later", seconds)
        # The next Hub cannot know how far it came.
        self.end([last for user in crowd for last in self.model.find_in_unit(user, name)])

    @rule(user=users, name=names, dies=st.booleans())
    def spawn_by_half(self, user: str, name: str, dies: bool) -> None:
        """Stdin ends in the middle of the request: the Hub has closed it, or dies."""
        end = "die unheard" if dies else "reply"
        for answer in self.call_for([user], [self.describe_spawn(name)], end, cut=True):
            reply, status = self.read("spawn", answer)
            assert (reply["ok"], reply["code"], status) == (False, "malformed_request", 1)

    # Servers

    @rule(server=servers, crowd=crowds, number=st.sampled_from((0, 65, *ENDS)), fits=st.booleans())
    def kill(self, server: Server, crowd: list[str], number: int, fits: bool) -> None:
        """The Hub sends a signal in these users' names; 65 is none."""
        told = self.ask_about(server, crowd, "kill", fits=fits, signal=number)
        for user, reply in told:
            assert reply["alive"] is (server.is_for(user, fits) and number != 65)
        if any(reply["alive"] for _, reply in told) and server.receive(number):
            self.stage.do("wait_for_end", pid=server.pid, ticks=server.ticks)

    @rule(server=servers, crowd=crowds, fits=st.booleans())
    def status(self, server: Server, crowd: list[str], fits: bool) -> None:
        """The Hub asks for a server in these users' names."""
        self.check_status(server, crowd, fits=fits)

    @rule(server=servers, crowd=crowds, fits=st.booleans(), patient=st.booleans())
    def stop(self, server: Server, crowd: list[str], fits: bool, patient: bool) -> None:
        """The Hub stops a server in these users' names."""
        seconds = {} if patient and not server.kind.ignores else AT_ONCE
        for user, reply in self.ask_about(server, crowd, "stop", fits=fits, **seconds):
            killed = server.kind.children if server.is_for(user, fits) else 0
            assert (reply["alive"], reply["leftovers_killed"]) == (False, killed)
        # Of a server that has ended in its unit, systemd knows the pid alone.
        if server.user in crowd and (fits or not server.runs):
            server.stop()

    @precondition(has_running)
    @rule(seconds=st.none() | moments)
    def stop_everything(self, seconds: float | None) -> None:
        """The Hub stops all servers at once. If it dies meanwhile, the next one does so again."""
        running = [server for server in self.model.servers if server.runs]
        if seconds is not None:
            requests = [self.describe_stop(server) for server in running]
            self.call_for([one.user for one in running], requests, "die later", seconds)
        self.end(running)

    @precondition(has_units)
    @rule(server=servers, user=users, action=actions)
    def ask_for_another_unit(self, server: Server, user: str, action: str) -> None:
        """The Hub names the unit of another user's server."""
        if user != server.user:
            about = {"server_name": server.name, "pid": server.pid, "unit": server.unit}
            about |= {"signal": 9} if action == "kill" else {}
            [answer] = self.call_for([user], [{"action": action, **about}])
            reply, status = self.read(action, answer)
            assert (reply["ok"], reply["code"], status) == (False, "unit_not_permitted", 1)

    @precondition(has_running)
    @rule(server=servers, number=ends)
    def die(self, server: Server, number: int) -> None:
        """A server's owner sends it a signal."""
        if server.runs:
            self.stage.do("signal", account=server.user, pid=server.pid, number=number)
            if server.receive(number):
                self.stage.do("wait_for_end", pid=server.pid, ticks=server.ticks)

    @precondition(
        lambda play: any(can_lose_its_supervisor(play, one) for one in play.model.servers)
    )
    @rule(server=servers)
    def lose_the_supervisor(self, server: Server) -> None:
        """A server's owner kills its supervisor. A keeper ends the server then; else it goes on."""
        if not can_lose_its_supervisor(self, server):
            return
        theirs = self.stage.do("look", units=False)["processes"][server.user]
        [pid] = [one["parent"] for one in theirs if one["pid"] == server.pid]
        self.stage.do("signal", account=server.user, pid=pid, number=9)
        if self.stage.hooked:
            self.stage.do("wait_for_end", pid=server.pid, ticks=server.ticks)
            server.stop()
        else:
            server.is_supervised = False

    # Strangers

    @rule(
        user=users,
        of=st.sampled_from((*ACCOUNTS, "rhea", "root")),
        name=names,
        number=st.sampled_from((0, 2, 9, 10, 15)),
    )
    def kill_a_stranger(self, user: str, of: str, name: str, number: int) -> None:
        """The Hub sends a signal, in a user's name, to what is no server."""
        pid = self.stage.do("list_strangers")[of]
        # A user's own stranger gets it, and is needed.
        number = 0 if user == of and number == 9 else number
        [(_, reply)] = self.ask([user], "kill", server_name=name, pid=pid, signal=number)
        assert reply["alive"] is (user == of)
        if user == of and number:
            self.model.signals[of].append(number)
            assert self.stage.do("list_signals")[of] == self.model.signals[of]

    @rule(crowd=crowds, of=users, name=names, action=actions)
    def mistake_a_stranger(self, crowd: list[str], of: str, name: str, action: str) -> None:
        """The Hub takes another user's process for a server, or a pid that was one's."""
        more: dict[str, Any] = {"signal": 9} if action == "kill" else {}
        more |= {"started": f"{'0' * 36}:{WRONG}"} if of in crowd else {}
        about = {"server_name": name, "pid": self.stage.do("list_strangers")[of], **more}
        assert not any(reply["alive"] for _, reply in self.ask(crowd, action, **about))
