"""Receipts of gateways into the store: the service that dispatchers serve for their zone. Reports of many gateways are handled together;
each returns when its receipts are in the store, so that a gateway may forget them. What belongs to another zone's stores is not touched, and what
belongs to a store that is away is not taken."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import structlog

from dispatcher.actions import Actions
from dispatcher.ledger import Ledger
from dispatcher.receipt_policy import TOLD, UNACKED, told, unacked
from dispatcher.settings import DispatcherSettings
from dispatcher.settle import Settlement
from dispatcher.vendor_routes import NOBODY, VendorRoutes
from push_core.batching import Batcher
from push_core.clock import Clock
from push_core.errors import Unavailable
from push_core.lifecycle import OPEN
from push_core.messages.port import Applied, Change, Messages
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import Channels
from push_core.rpc.port import Receipt, ReceiptKind
from push_core.shards import ShardMap

log = structlog.get_logger(__name__)


class Receipts:
    """`ReceiptsService`. Raises Unavailable when receipts must be sent again: the store did not take them, or too many wait."""

    def __init__(
        self,
        messages: Messages,
        ledger: Ledger,
        actions: Actions,
        routes: VendorRoutes,
        metrics: Metrics,
        settings: DispatcherSettings,
        clock: Clock,
        shard_map: Callable[[], ShardMap],
    ) -> None:
        self._messages = messages
        self._ledger = ledger
        self._actions = actions
        self._routes = routes
        self._metrics = metrics
        self._net_ms = int(settings.vendor_net_s * 1_000)
        self._clock = clock
        self._zone = settings.zone
        self._shard_map = shard_map
        # One for each store: one that is away holds up nobody else's.
        self._batchers: list[Batcher[Sequence[Receipt], None]] = [
            Batcher(
                self._work, largest=settings.receipts_batch, bound=settings.receipts_bound, parallel=2, name="receipts"
            )
            for _ in messages.stores()
        ]

    async def report(self, receipts: Sequence[Receipt]) -> Sequence[int] | None:
        left = self._elsewhere(receipts)
        if left:
            self._metrics.count(Metric.DI_RECEIPTS, len(left), applied="elsewhere")
            log.warning("receipts of another zone's shards; the gateway looks again", count=len(left))
        elif len(self._batchers) == 1 and receipts:
            await self._batchers[0].submit(receipts)
            return None
        by_store = self._by_store(receipts, set(left))
        answers = await asyncio.gather(
            *(self._take(store, [receipts[place] for place in places]) for store, places in by_store.items()),
            return_exceptions=True,
        )
        away: list[Unavailable] = []
        for places, answer in zip(by_store.values(), answers, strict=True):
            if isinstance(answer, Unavailable):
                away.append(answer)
                left += places
            elif answer is not None:
                raise answer
        if away and len(away) == len(answers):
            raise away[0]
        return sorted(left) or None  # a gateway of the release before knows no other answer than None

    def _by_store(self, receipts: Sequence[Receipt], left: set[int]) -> dict[int, list[int]]:
        """Places of those that are not left to others, by their store."""
        by_store: dict[int, list[int]] = {}
        for place, receipt in enumerate(receipts):
            if place not in left:
                by_store.setdefault(self._messages.store_of(receipt.id), []).append(place)
        return by_store

    async def _take(self, store: int, receipts: Sequence[Receipt]) -> None:
        await self._batchers[store].submit(receipts)

    def _elsewhere(self, receipts: Sequence[Receipt]) -> list[int]:
        """Places of those that another zone's stores have, or nobody's."""
        shard_map, zone = self._shard_map(), self._zone
        if shard_map.sole_zone == zone:
            return []
        return [place for place, receipt in enumerate(receipts) if shard_map.home_of(receipt.id) != zone]

    async def close(self) -> None:
        for batcher in self._batchers:
            await batcher.close()

    async def _work(self, reports: Sequence[Sequence[Receipt]]) -> list[None]:
        receipts = [receipt for report in reports for receipt in report] if len(reports) > 1 else reports[0]
        acks: list[Change] = []
        changes: list[Change] = []
        # A write of what waited in an inbox must not hide that a vendor has it: only the store knows.
        ask: list[Receipt] = []
        shown: list[tuple[str, str, int]] = []
        for receipt in receipts:
            kind = receipt.kind
            if kind is ReceiptKind.RECALL_SHOWN:
                shown.append((receipt.app, receipt.device, receipt.id))
            elif kind in UNACKED or (kind is ReceiptKind.WRITTEN and receipt.stored):
                ask.append(receipt)
            elif kind is ReceiptKind.RECEIVED and not receipt.stored:
                acks.append(told(receipt))
            else:
                changes.append(told(receipt))
        # Acks before misses: a miss of what was acked in the same report changes nothing then.
        for told_changes in (acks, changes):
            if told_changes:
                self._count(await self._ledger.apply(told_changes))
        if ask:
            await self._ask(ask)
        if shown:
            await self._messages.recalls_shown(shown)
            self._metrics.count(Metric.DI_RECEIPTS, len(shown), applied="recall_shown")
        return [None] * len(reports)

    async def _ask(self, receipts: Sequence[Receipt]) -> None:
        standings = await self._messages.standings([(one.id, one.app, one.device) for one in receipts])
        written: list[Change] = []
        missed = []
        unmoved: list[Applied] = []
        for receipt, standing in zip(receipts, standings, strict=True):
            if standing is None:
                unmoved.append(Applied.FOREIGN)
            elif standing.state not in OPEN or standing.recalled:
                unmoved.append(Applied.REPEAT)
            elif receipt.kind in TOLD:
                if not standing.vendor:
                    written.append(told(receipt))
            else:
                missed.append((receipt, standing))
        self._count([*unmoved, *await self._ledger.apply(written)])
        if not missed:
            return
        ids = list({receipt.id for receipt, _ in missed})
        envelopes = dict(zip(ids, await self._messages.envelopes(ids), strict=True))
        asked = list(
            {
                (receipt.app, receipt.device)
                for receipt, standing in missed
                if not standing.vendor
                and (envelope := envelopes[receipt.id]) is not None
                and envelope.channels is Channels.AUTO
                and not envelope.live_only
            }
        )
        reaches = dict(zip(asked, await self._routes.of(asked), strict=True))
        settlement = Settlement()
        now = self._clock.wall_ms()
        for receipt, standing in missed:
            envelope = envelopes[receipt.id]
            if envelope is None:
                log.error("a delivery without its message", id=receipt.id, app=receipt.app)
                continue
            route = reaches.get((receipt.app, receipt.device), NOBODY).first()
            unacked(receipt, envelope, standing, route, settlement, now=now, net_ms=self._net_ms)
        self._count(await self._actions.carry_out(settlement))

    def _count(self, applied: Iterable[Applied]) -> None:
        for what, n in Counter(applied).items():
            self._metrics.count(Metric.DI_RECEIPTS, n, applied=what.value)
