"""Ending connections that other nodes hold: told again until the node did it or is gone."""

import asyncio
from collections.abc import Sequence

import structlog

from push_core.backoff import Backoff
from push_core.errors import Unavailable
from push_core.presence.port import Node, Presence
from push_core.rpc.port import Kick, Peers
from push_core.tasks import Crew
from push_gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)
BOUND = 10_000  # per node; a kick beyond it is left to the other node's own comparing of its routes
LARGEST = 500


class Kicks:
    def __init__(self, presence: Presence, peers: Peers, settings: GatewaySettings, crew: Crew) -> None:
        self._presence = presence
        self._peers = peers
        self._settings = settings
        self._crew = crew
        self._waiting: dict[str, list[Kick]] = {}  # by incarnation

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, kick: Kick) -> None:
        """`kick.incarnation` names the node."""
        waiting = self._waiting.get(kick.incarnation)
        if waiting is None:
            self._waiting[kick.incarnation] = [kick]
            self._crew.start(f"kicks.{kick.incarnation}", self._tell(kick.incarnation))
        elif len(waiting) < BOUND:
            waiting.append(kick)
        else:
            log.warning("too many kicks wait for a node; one is left to that node's comparing", node=kick.incarnation)

    async def _tell(self, incarnation: str) -> None:
        backoff = Backoff(self._settings.retry_min_s, self._settings.retry_max_s)
        try:
            while waiting := self._waiting[incarnation]:
                batch = waiting[:LARGEST]
                try:
                    async with asyncio.timeout(2 * self._settings.store_timeout_s):
                        if not await self._tell_once(incarnation, batch):
                            return
                except (TimeoutError, Unavailable) as error:
                    log.warning("a node was not told to end connections; trying again", error=str(error))
                    await asyncio.sleep(backoff.next_s())
                else:
                    backoff.reset()
                    del waiting[: len(batch)]
        finally:
            self._waiting.pop(incarnation, None)

    async def _tell_once(self, incarnation: str, batch: Sequence[Kick]) -> bool:
        """False: the node is gone, and its connections with it."""
        nodes: list[Node] = await self._presence.nodes()
        node = next((node for node in nodes if node.incarnation == incarnation), None)
        if node is None:
            return False
        await self._peers.kick(node.address, batch, timeout_s=self._settings.store_timeout_s)
        return True
