"""What devices and time tell about deliveries, on its way to the zone that owns them.

Receipts are gathered for a moment, sent by zone, and sent again until they are taken or too old to wait for. An ack that isn't taken
yet is remembered by device, so that neither an inbox nor a repeated offer sends that push again; one that is given up is forgotten, so
that its message is sent again rather than lost. Knows nothing of sessions.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import structlog

from push_core.backoff import Backoff
from push_core.clock import Clock
from push_core.errors import Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import DeviceKey
from push_core.rpc.port import Peers, Receipt, ReceiptKind
from push_core.shards import NOBODY, ShardMap
from push_core.tasks import Crew
from push_gateway.settings import GatewaySettings
from sdk_proto.wire.server import Unacked

log = structlog.get_logger(__name__)

# What ends the device's part: once stored, the inbox doesn't have the push any more.
SETTLING = (
    ReceiptKind.RECEIVED,
    ReceiptKind.DISPLAYED,
    ReceiptKind.CLICKED,
    ReceiptKind.DROPPED,
    ReceiptKind.UNDECODABLE,
    ReceiptKind.RECALL_SHOWN,
)
# What says that a push was written without an ack: until that is stored, the inbox shows the push as never tried.
TRIED = (ReceiptKind.MISSED, ReceiptKind.LOST)
_RECEIVED = ReceiptKind.RECEIVED
KINDS = {
    "received": ReceiptKind.RECEIVED,
    "displayed": ReceiptKind.DISPLAYED,
    "clicked": ReceiptKind.CLICKED,
    "dropped": ReceiptKind.DROPPED,
    "undecodable": ReceiptKind.UNDECODABLE,
}


def mark(receipt: Receipt) -> int:
    """What a settled push or recall is remembered by: a message's id, negative for its recall."""
    return -receipt.id if receipt.kind is ReceiptKind.RECALL_SHOWN else receipt.id


class _Zone:
    """What waits for one zone. `kept` counts what is under way as well."""

    __slots__ = ("kept", "name", "waiting", "wake")

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept = 0
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
    """`shard_map` gives the present map. For each zone at most `receipts_bound` are kept, those under way included, for at most
    `receipts_keep_s`; beyond either they are dropped with a count: their messages are sent again rather than lost."""

    def __init__(
        self,
        peers: Peers,
        shard_map: Callable[[], ShardMap],
        settings: GatewaySettings,
        metrics: Metrics,
        crew: Crew,
        clock: Clock | None = None,
    ) -> None:
        self._peers = peers
        self._shard_map = shard_map
        self._settings = settings
        self._metrics = metrics
        self._crew = crew
        self._clock = clock or Clock()
        self._keep_ms = int(settings.receipts_keep_s * 1_000)
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

    def add_received(self, key: DeviceKey, ids: Sequence[int], pushes: Sequence[Unacked], wall: int) -> None:
        """`add` for what nearly all receipts are: these ids were received by the device at `wall` (Unix ms)."""
        app, device = key
        shard_map, bound = self._shard_map(), self._settings.receipts_bound
        zone = self._zones.get(shard_map.sole_zone)
        for message_id, push in zip(ids, pushes, strict=True):
            receipt = Receipt(message_id, app, device, _RECEIVED, wall, push.written_at, 0, push.stored)
            if zone is None or zone.kept >= bound:  # several zones, the first receipt of all, or too many
                self.add(receipt)
                continue
            if not self._kept:
                self._empty.clear()
            self._kept += 1
            zone.kept += 1
            zone.waiting.append(receipt)
            self._settled.add(key, message_id)
        if zone is not None and not zone.wake.is_set():
            zone.wake.set()

    def add(self, receipt: Receipt) -> None:
        zone = self._home(receipt, self._shard_map())
        if zone.kept >= self._settings.receipts_bound:
            self._metrics.count(Metric.GW_RECEIPTS_DROPPED, zone=zone.name or "nobody", why="bound")
            return
        if not self._kept:
            self._empty.clear()
        self._kept += 1
        marks = self._marks_of(receipt)
        if marks is not None:
            marks.add((receipt.app, receipt.device), mark(receipt))
        self._place(receipt, zone)

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

    def _home(self, receipt: Receipt, shard_map: ShardMap) -> _Zone:
        name = shard_map.home_of(receipt.id) or NOBODY
        return self._zones.get(name) or self._open(name)

    def _place(self, receipt: Receipt, zone: _Zone) -> None:
        zone.kept += 1
        zone.waiting.append(receipt)
        if not zone.wake.is_set():
            zone.wake.set()

    def _open(self, name: str) -> _Zone:
        zone = self._zones[name] = _Zone(name)
        for number in range(self._settings.receipts_parallel):
            backoff = Backoff(self._settings.retry_min_s, self._settings.retry_max_s)
            self._crew.keep(f"receipts.{name or 'nobody'}.{number}", partial(self._send_next, zone, backoff))
        return zone

    async def _send_next(self, zone: _Zone, backoff: Backoff) -> None:
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
        left: Sequence[Receipt] = batch  # cancelled or refused: they stay ours
        try:
            left = await self._report(zone, batch)
        finally:
            if left:  # behind the others: one store of several may be away, and theirs be taken
                zone.waiting.extend(left)
                zone.wake.set()
        if len(left) < len(batch):
            backoff.reset()
        if not left:
            return
        await asyncio.sleep(backoff.next_s())
        self._place_again(zone)

    async def _report(self, zone: _Zone, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """What was not taken."""
        if zone.name == NOBODY:
            log.warning("no zone owns the shards of some receipts; they are kept", count=len(batch))
            return batch
        try:
            places = await self._peers.report(zone.name, batch, timeout_s=self._settings.receipts_timeout_s)
        except Unavailable as error:
            log.warning("receipts were not taken; trying again", zone=zone.name, count=len(batch), error=error.message)
            return batch
        if not places:
            self._done(zone, batch)
            return ()
        elsewhere = set(places)
        self._done(zone, [receipt for place, receipt in enumerate(batch) if place not in elsewhere])
        log.warning("a zone did not take some receipts; looking again", zone=zone.name, count=len(elsewhere))
        return [receipt for place, receipt in enumerate(batch) if place in elsewhere]

    def _place_again(self, zone: _Zone) -> None:
        """By the present map: the shards may have moved since. What is too old, or moves to a zone that has no room, is given up."""
        again, zone.waiting = zone.waiting, deque()
        zone.wake.clear()
        shard_map, too_old = self._shard_map(), self._clock.wall_ms() - self._keep_ms
        dropped: Counter[str] = Counter()
        for receipt in again:
            home = self._home(receipt, shard_map)
            why = "age" if receipt.at < too_old else ""
            if not why and home is not zone and home.kept >= self._settings.receipts_bound:
                why = "bound"
            if why:
                dropped[why] += 1
                self._done(zone, (receipt,))
            else:
                zone.kept -= 1
                self._place(receipt, home)
        for why, count in dropped.items():
            self._metrics.count(Metric.GW_RECEIPTS_DROPPED, count, zone=zone.name or "nobody", why=why)
            log.error("receipts are given up; their messages are sent again", zone=zone.name, count=count, why=why)

    def _done(self, zone: _Zone, receipts: Sequence[Receipt]) -> None:
        """They are kept no longer: taken, or given up."""
        zone.kept -= len(receipts)
        self._kept -= len(receipts)
        settled = self._settled
        for receipt in receipts:
            if receipt.kind is _RECEIVED:
                settled.discard((receipt.app, receipt.device), receipt.id)
                continue
            marks = self._marks_of(receipt)
            if marks is not None:
                marks.discard((receipt.app, receipt.device), mark(receipt))
        self._metrics.gauge(Metric.GW_RECEIPTS_PENDING, self._kept)
        if not self._kept:
            self._empty.set()

    def _marks_of(self, receipt: Receipt) -> "_Marks | None":
        return self._settled if receipt.kind in SETTLING else self._tried if receipt.kind in TRIED else None


_NOTHING: set[int] = set()
