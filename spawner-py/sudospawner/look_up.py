"""Looks up accounts in the account database, without holding up the Hub."""

from __future__ import annotations

import asyncio
import pwd
import shlex
import threading
from contextlib import suppress

from .errors import MediatorError

#: How many accounts are looked up at once, and how often one of them. Where a directory service
#: hangs, each look-up keeps its thread until there is an answer. Others then wait for a thread,
#: within their own time limit.
LOOK_UPS = 16
LOOK_UPS_OF_ONE = 4


async def find_account(name: str, time_limit: float) -> pwd.struct_passwd | None:
    """Return an account, or None if the account database does not have it.

    A directory service may take its time, and this must not hold up the Hub.

    :raises MediatorError: if there is no answer within so many seconds, or no thread to ask.
    """
    question = _Question(name, asyncio.get_running_loop())
    try:
        _look_ups.ask(question)
    except RuntimeError as error:  # The Hub's unit may have no more threads.
        raise MediatorError("account_unknown", f"No account can be looked up: {error}.") from error
    try:
        return await asyncio.wait_for(question.answer, time_limit)
    except asyncio.TimeoutError as error:
        is_waiting = _look_ups.withdraw(question)
        reason = ", since earlier look-ups hang" if is_waiting else ""
        raise MediatorError(
            "account_timeout",
            f"The account database of this machine did not answer within {time_limit:.1f} seconds "
            f"whether it has an account named {name}{reason}. Check the directory service: "
            f"time id {shlex.quote(name)}",
        ) from error
    finally:
        _look_ups.withdraw(question)


class _Question:
    """Whether there is an account of this name, and where the answer is waited for."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self._loop = loop
        self.answer: asyncio.Future[pwd.struct_passwd | None] = loop.create_future()

    def look_up(self) -> None:
        """Ask the account database; returns when it has answered."""
        account = None
        with suppress(KeyError, TypeError, ValueError, OSError):
            account = pwd.getpwnam(self.name)
        with suppress(RuntimeError):  # The loop has been closed.
            self._loop.call_soon_threadsafe(self._take, account)

    def _take(self, account: pwd.struct_passwd | None) -> None:
        if not self.answer.done():
            self.answer.set_result(account)


class _LookUps:
    """Threads that ask the account database, which are there while there are questions.

    They are daemons: a thread that hangs does not hold up the end of the Hub, as one of an executor
    would.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Question] = []
        self._asked: list[_Question] = []
        self._threads = 0

    def ask(self, question: _Question) -> None:
        """Have a question answered when a thread is free.

        :raises RuntimeError: if there is no thread and none can be started.
        """
        with self._lock:
            self._waiting.append(question)
            if self._threads == LOOK_UPS:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="look-up of accounts", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._threads -= 1
                if self._threads or question not in self._waiting:
                    return
                self._waiting.remove(question)
            raise

    def withdraw(self, question: _Question) -> bool:
        """Forget a question; True if it was not asked yet, because all threads were busy."""
        with self._lock, suppress(ValueError):
            self._waiting.remove(question)
            return True
        return False

    def _work(self) -> None:
        question = self._take_next(None)
        while question is not None:
            question.look_up()
            question = self._take_next(question)

    def _take_next(self, answered: _Question | None) -> _Question | None:
        """Return a question for this thread; None if there is none, and the thread ends."""
        with self._lock:
            if answered is not None:
                self._asked.remove(answered)
            names = [question.name for question in self._asked]
            for question in self._waiting:
                if names.count(question.name) < LOOK_UPS_OF_ONE:
                    self._waiting.remove(question)
                    self._asked.append(question)
                    return question
            self._threads -= 1
            return None


_look_ups = _LookUps()


async def find_uid(name: str, time_limit: float = 30.0) -> int | None:
    """Return the uid of an account, or None if it does not exist or is not known in time."""
    with suppress(MediatorError):
        account = await find_account(name, time_limit)
        return account.pw_uid if account else None
    return None
