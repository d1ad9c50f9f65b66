"""The form of profiles of one spawner: when there is one, and what becomes of what it sends."""

from __future__ import annotations

from typing import Any

from jupyterhub.spawner import Spawner

from .form import make_form
from .options import Choice
from .profiles import Offer, find_offer


class Choosing:
    """What the user of a spawner may choose, and has chosen."""

    def __init__(self, spawner: Spawner) -> None:
        """Prepare.

        :param spawner: has the mediator's path, the user, the Hub's record and the form that is
            configured.
        """
        self._spawner = spawner

    async def find_offer(self) -> Offer:
        """Return the launcher, and the profiles that the user may choose."""
        spawner = self._spawner
        return await find_offer(spawner.sudospawner_path, spawner.user.name, spawner.log.warning)

    async def make_form(self, _: Spawner) -> str:
        """Return the form, as the Hub's ``options_form``; empty if there is nothing to choose."""
        return make_form(await self.find_offer(), self._find_last())

    def _find_last(self) -> Choice:
        """Return what the user chose at the last start; no choice if that makes no sense."""
        record = self._spawner.orm_spawner
        kept = record.user_options if record else self._spawner.user_options
        try:
            return Choice.read(kept or {})
        except ValueError:
            return Choice()

    def read_form(self, fields: dict[str, list[str]]) -> Any:
        """Return the ``user_options`` of our form, in a coroutine; the fields of any other form.

        :raises ValueError: if a field makes no sense; the message is for the user.
        """
        is_ours = self._spawner.options_form == self.make_form
        return self._read(fields) if is_ours else fields

    async def _read(self, fields: dict[str, list[str]]) -> dict[str, Any]:
        offer = await self.find_offer()
        if not offer.profiles:
            return fields
        return Choice.read_form(fields).check(offer).get_options()
