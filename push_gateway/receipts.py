"""What devices and time tell about deliveries, on its way to the zone that owns them.

Receipts are gathered for a moment, sent by zone, and sent again until they are taken. An ack that isn't taken yet is remembered
by device, so that neither an inbox nor a repeated offer sends that push again. Knows nothing of sessions.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import structlog

from push_core.backoff import Backoff
from push_core.errors import Unavailable
from push_core.ids import shard_of
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import DeviceKey
from push_core.rpc.port import Peers, Receipt, ReceiptKind
from push_core.shards import ShardMap
from push_core.tasks import Crew
from push_gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)

# What ends the device's part: once stored, the inbox doesn't have the push any more.
SETTLING = frozenset(
    {
        ReceiptKind.RECEIVED,
        ReceiptKind.DISPLAYED,
        ReceiptKind.CLICKED,
        ReceiptKind.DROPPED,
        ReceiptKind.UNDECODABLE,
        ReceiptKind.RECALL_SHOWN,
    }
)
# What says that a push was written without an ack: until that is stored, the inbox shows the push as never tried.
TRIED = frozenset({ReceiptKind.MISSED, ReceiptKind.LOST})
KINDS = {
    "received": ReceiptKind.RECEIVED,
    "displayed": ReceiptKind.DISPLAYED,
    "clicked": ReceiptKind.CLICKED,
    "dropped": ReceiptKind.DROPPED,
    "undecodable": ReceiptKind.UNDECODABLE,
}
NOBODY = ""  # the place of receipts whose shard no zone owns: kept and tried again, never guessed


def mark(receipt: Receipt) -> int:
    """What a settled push or recall is remembered by: a message's id, negative for its recall."""
    return -receipt.id if receipt.kind is ReceiptKind.RECALL_SHOWN else receipt.id


class _Zone:
    """What waits for one zone."""

    __slots__ = ("waiting", "wake")

    def __init__(self) -> None:
        self.waiting: deque[Receipt] = deque()
        self.wake = asyncio.Event()


class _Marks:
    """Marks by device; a device without any takes no room."""

    __slots__ = ("_by_device",)

    def __init__(self) -> None:
        self._by_device: dict[DeviceKey, set[int]] = {}

    def of(self, key: DeviceKey) -> set[int]:
        return self._by_device.get(key, _NOTHING)

    def add(self, key: DeviceKey, mark: int) -> None:
        marks = self._by_device.get(key)
        if marks is None:
            self._by_device[key] = {mark}
        else:
            marks.add(mark)

    def discard(self, key: DeviceKey, mark: int) -> None:
        marks = self._by_device.get(key)
        if marks is not None:
            marks.discard(mark)
            if not marks:
                del self._by_device[key]


class Receipts:
    """`shard_map` gives the present map. At most `receipts_bound` are kept, those under way included; one that comes then is dropped
    with a count: its message is sent again rather than lost."""

    def __init__(
        self,
        peers: Peers,
        shard_map: Callable[[], ShardMap],
        settings: GatewaySettings,
        metrics: Metrics,
        crew: Crew,
    ) -> None:
        self._peers = peers
        self._shard_map = shard_map
        self._settings = settings
        self._metrics = metrics
        self._crew = crew
        self._zones: dict[str, _Zone] = {}
        self._settled = _Marks()
        self._tried = _Marks()
        self._kept = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._hurry = asyncio.Event()

    def __len__(self) -> int:
        """Receipts that no zone has taken yet."""
        return self._kept

    def settled(self, key: DeviceKey) -> set[int]:
        """What the device settled and the store may not know of yet: see `mark`. Not to be changed."""
        return self._settled.of(key)

    def tried(self, key: DeviceKey) -> set[int]:
        """Ids that were written to the device in vain, which the store may not know of yet. Not to be changed."""
        return self._tried.of(key)

    def add(self, receipt: Receipt) -> None:
        if self._kept >= self._settings.receipts_bound:
            self._metrics.count(Metric.GW_RECEIPTS_DROPPED)
            return
        if not self._kept:
            self._empty.clear()
        self._kept += 1
        marks = self._marks_of(receipt)
        if marks is not None:
            marks.add((receipt.app, receipt.device), mark(receipt))
        self._place(receipt, self._shard_map())

    async def flush(self, timeout_s: float) -> bool:
        """Send without lingering; whether all were taken in time."""
        self._hurry.set()
        for zone in self._zones.values():
            zone.wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            log.warning("receipts were not taken before the stop; their messages are sent again", count=self._kept)
            return False
        return True

    def _place(self, receipt: Receipt, shard_map: ShardMap) -> None:
        name = shard_map.zone_of(shard_of(receipt.id)) or NOBODY
        zone = self._zones.get(name)
        if zone is None:
            zone = self._open(name)
        zone.waiting.append(receipt)
        if not zone.wake.is_set():
            zone.wake.set()

    def _open(self, name: str) -> _Zone:
        zone = self._zones[name] = _Zone()
        for number in range(self._settings.receipts_parallel):
            backoff = Backoff(self._settings.retry_min_s, self._settings.retry_max_s)
            self._crew.keep(f"receipts.{name or 'nobody'}.{number}", partial(self._send_next, name, zone, backoff))
        return zone

    async def _send_next(self, name: str, zone: _Zone, backoff: Backoff) -> None:
        await zone.wake.wait()
        if len(zone.waiting) < self._settings.receipts_batch:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.receipts_linger_s):
                    await self._hurry.wait()
        largest = self._settings.receipts_batch
        batch = [zone.waiting.popleft() for _ in range(min(largest, len(zone.waiting)))]
        if not zone.waiting:
            zone.wake.clear()
        if not batch:
            return
        taken = False
        try:
            taken = await self._report(name, batch)
        finally:
            if not taken:  # cancelled or refused: they stay ours
                zone.waiting.extendleft(reversed(batch))
                zone.wake.set()
        if taken:
            backoff.reset()
            self._confirmed(batch)
            return
        await asyncio.sleep(backoff.next_s())
        self._place_again(zone)

    async def _report(self, name: str, batch: Sequence[Receipt]) -> bool:
        if name == NOBODY:
            log.warning("no zone owns the shards of some receipts; they are kept", count=len(batch))
            return False
        try:
            await self._peers.report(name, batch, timeout_s=self._settings.receipts_timeout_s)
        except Unavailable as error:
            log.warning("receipts were not taken; trying again", zone=name, count=len(batch), error=error.message)
            return False
        return True

    def _place_again(self, zone: _Zone) -> None:
        """By the present map: the shards may have moved since."""
        again, zone.waiting = zone.waiting, deque()
        zone.wake.clear()
        shard_map = self._shard_map()
        for receipt in again:
            self._place(receipt, shard_map)

    def _confirmed(self, batch: Sequence[Receipt]) -> None:
        self._kept -= len(batch)
        for receipt in batch:
            marks = self._marks_of(receipt)
            if marks is not None:
                marks.discard((receipt.app, receipt.device), mark(receipt))
        self._metrics.gauge(Metric.GW_RECEIPTS_PENDING, self._kept)
        if not self._kept:
            self._empty.set()

    def _marks_of(self, receipt: Receipt) -> "_Marks | None":
        return self._settled if receipt.kind in SETTLING else self._tried if receipt.kind in TRIED else None


_NOTHING: set[int] = set()
