"""The race "stored, but just reconnected": store first, then look the routes up again, then tell the gateways named there."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from push_core.errors import Unavailable
from push_core.models import DeviceKey
from push_core.presence.port import Presence
from push_core.rpc.port import Peers, Poke

log = structlog.get_logger(__name__)


class Poker:
    """`holding_up` says of a life of a node whether it is better not to wait for it."""

    def __init__(
        self, presence: Presence, peers: Peers, timeout_s: float, holding_up: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._presence = presence
        self._peers = peers
        self._timeout_s = timeout_s
        self._holding_up = holding_up

    async def poke(self, stored: Iterable[DeviceKey]) -> set[DeviceKey]:
        """Tell the gateways of devices that are connected now; those whose gateway could not be told. Raises Unavailable when presence
        can't be asked."""
        keys = list(dict.fromkeys(stored))
        if not keys:
            return set()
        by_address: dict[str, list[Poke]] = {}
        not_told: set[DeviceKey] = set()
        for key, found in zip(keys, await self._presence.locate(keys), strict=True):
            if found is None:
                continue
            if self._holding_up(found.node.incarnation):
                not_told.add(key)
            else:
                by_address.setdefault(found.node.address, []).append(Poke(*key))
        if not by_address:
            return not_told
        told = await asyncio.gather(*(self._tell(address, pokes) for address, pokes in by_address.items()))
        return not_told | {
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
