"""The race "stored, but just reconnected": store first, then look the routes up again, then tell the gateways named there."""

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from push_core.errors import Unavailable
from push_core.models import DeviceKey
from push_core.presence.port import Presence
from push_core.rpc.port import Peers, Poke

log = structlog.get_logger(__name__)


class Poker:
    def __init__(self, presence: Presence, peers: Peers, timeout_s: float) -> None:
        self._presence = presence
        self._peers = peers
        self._timeout_s = timeout_s

    async def poke(self, stored: Iterable[DeviceKey]) -> set[DeviceKey]:
        """Tell the gateways of devices that are connected now; those whose gateway could not be told. Raises Unavailable when presence
        can't be asked."""
        keys = list(dict.fromkeys(stored))
        if not keys:
            return set()
        by_address: dict[str, list[Poke]] = {}
        for found in await self._presence.locate(keys):
            if found is not None:
                by_address.setdefault(found.node.address, []).append(Poke(found.route.app, found.route.device))
        if not by_address:
            return set()
        told = await asyncio.gather(*(self._tell(address, pokes) for address, pokes in by_address.items()))
        return {
            (poke.app, poke.device)
            for reached, pokes in zip(told, by_address.values(), strict=True)
            if not reached
            for poke in pokes
        }

    async def _tell(self, address: str, pokes: Sequence[Poke]) -> bool:
        try:
            await self._peers.poke(address, pokes, timeout_s=self._timeout_s)
        except Unavailable as error:
            log.warning("node not told of stored messages", address=address, devices=len(pokes), error=str(error))
            return False
        return True
