"""Many questions, one command: what a client spends on a command, it spends once for all that are asked together."""

import asyncio
from collections.abc import Sequence

from submeter.store.cache.contract import CacheUnavailable
from submeter.store.cache.server import Server
from submeter.tasks import spawn

AT_ONCE = 64
"""Names in one command: the first of them wait for the values of the last, and all for the same deadline."""

Question = tuple[str, asyncio.Future[object]]


class BatchedGets:
    """A question goes alone while no other is alone on its way, else with all that are asked in this turn of the loop,
    as one MGET. In a cluster, where names lie on many nodes, each goes alone."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._one_is_alone = False
        self._asked: list[Question] = []

    async def get(self, name: str) -> object:
        """The value, or ``None``. Raises ``CacheUnavailable`` only."""
        if self._server.is_cluster:
            return await self._get(name)
        if self._one_is_alone:
            return await self._together(name)
        self._one_is_alone = True
        try:
            return await self._get(name)
        finally:
            self._one_is_alone = False

    async def _get(self, name: str) -> object:
        return await self._server.ask(name, lambda: self._server.client.get(name))

    def _together(self, name: str) -> asyncio.Future[object]:
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send)
        answer: asyncio.Future[object] = loop.create_future()
        self._asked.append((name, answer))
        return answer

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        for first in range(0, len(asked), AT_ONCE):
            spawn(self._answer(asked[first : first + AT_ONCE]), "cache lookups")

    async def _answer(self, batch: list[Question]) -> None:
        names = [name for name, _ in batch]
        try:
            values = await self._server.ask(names[0], lambda: self._mget(names), len(names))
        except CacheUnavailable:
            for _, answer in batch:
                if not answer.done():  # as its caller has left
                    answer.set_exception(CacheUnavailable())
            return
        for (_, answer), value in zip(batch, values, strict=True):
            if not answer.done():
                answer.set_result(value)

    async def _mget(self, names: list[str]) -> Sequence[object]:
        values = await self._server.client.mget(names)
        if len(values) != len(names):
            raise ValueError("no answer to MGET")  # what says so is no Redis
        return values
