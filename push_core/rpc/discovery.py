"""Which peers there are, followed: receipts services of the own zone from presence, those of other zones from control, and connections
to peers that are gone closed.

Presence that can't be reached, or that was emptied and names nobody, changes nothing: the last known list holds, since dispatchers don't
die of a cache that does.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from push_core.control.port import Entry
from push_core.control.watch import ControlWatch
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.presence.port import RECEIPTS, Presence
from push_core.rpc.port import Peers
from push_core.rpc.zones import Zones

log = structlog.get_logger(__name__)

CONTROL_KEY = "zones"
EVERY_S = 2.0


class Discovery:
    """For the zone that a program is in. `run` is the loop of a background task."""

    def __init__(
        self,
        presence: Presence,
        control: ControlWatch,
        zones: Zones,
        peers: Peers,
        zone: str,
        *,
        every_s: float = EVERY_S,
        timeout_s: float = 5.0,
    ) -> None:
        self._presence = presence
        self._zones = zones
        self._peers = peers
        self._zone = zone
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._seen: set[str] = set()  # addresses of nodes of any role, and of other zones
        control.subscribe(CONTROL_KEY, self._told)

    async def run(self) -> None:
        try:
            await self.look()
        except Unavailable as error:
            log.warning("presence can't be asked for peers; the last known ones hold", error=error.message)
        await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Raises Unavailable."""
        try:
            async with asyncio.timeout(self._timeout_s):
                nodes = await self._presence.nodes()
        except TimeoutError:
            raise DeadlineExceeded("presence did not answer in time") from None
        if not nodes:
            return
        found = [node.address for node in nodes if node.role == RECEIPTS and node.zone == self._zone]
        if found:
            self._zones.find(self._zone, found)
        now = {node.address for node in nodes} | self._zones.known()
        gone, self._seen = self._seen - now, now
        for address in gone:
            await self._peers.forget(address)

    def _told(self, entry: Entry) -> None:
        try:
            self._zones.tell(receipts_from_value(entry.value or {}))
        except ValueError as error:
            log.warning(
                "addresses of zones refused; those before hold",
                key=CONTROL_KEY,
                version=entry.version,
                error=str(error),
            )


def receipts_from_value(value: Any) -> dict[str, tuple[str, ...]]:
    """Read the value of control: `{"west": {"receipts": ["host:port", …]}}`. Raises ValueError naming the zone at fault."""
    if not isinstance(value, Mapping):
        raise ValueError('zones must be an object of zone → {"receipts": ["host:port", …]}')
    addresses: dict[str, tuple[str, ...]] = {}
    for zone, about in value.items():
        named = about.get("receipts") if isinstance(about, Mapping) else None
        if not isinstance(named, Sequence) or isinstance(named, str):
            raise ValueError(f"zones.{zone}.receipts must be a list of host:port")
        for address in named:
            _check_address(zone, address)
        addresses[zone] = tuple(named)
    return addresses


def _check_address(zone: str, address: Any) -> None:
    if isinstance(address, str):
        host, _, port = address.rpartition(":")
        if host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536:
            return
    raise ValueError(f"zones.{zone}.receipts: {address!r} is not host:port")
