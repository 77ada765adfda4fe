"""Receipts on their way home: gathered, sent by zone, kept until they are taken."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from push_core.clock import wall_ms
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.ids import shard_of
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.rpc.port import Receipt, ReceiptKind
from push_core.shards import ShardMap
from push_core.tasks import Crew
from push_gateway.receipts import Receipts
from tests.push_gateway.support import QUICK, Site, new_id, offer
from tests.support.hand_clock import HandClock

TWO_ZONES = ShardMap.from_value(1, {"zones": {"east": [[0, 99]], "west": [[100, 199]]}})


class Zones:
    """The calling side of the RPC, with what each zone took."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Receipt]]] = []
        self.down: set[str] = set()
        self.tries = 0
        self.hold: asyncio.Event | None = None
        self.not_ours: dict[str, set[int]] = {}  # zone → shards that it takes for another's
        self.error: Exception = Unavailable("down")

    async def report(self, zone: str, receipts: Sequence[Receipt], *, timeout_s: float) -> list[int]:
        self.tries += 1
        if self.hold is not None:
            await self.hold.wait()
        if zone in self.down:
            raise self.error
        not_ours = self.not_ours.get(zone, set())
        places = [place for place, receipt in enumerate(receipts) if shard_of(receipt.id) in not_ours]
        self.calls.append((zone, [receipt for place, receipt in enumerate(receipts) if place not in places]))
        return places

    def of(self, zone: str) -> list[Receipt]:
        return [receipt for name, batch in self.calls if name == zone for receipt in batch]


class Box:
    def __init__(self, **settings: Any) -> None:
        self.zones = Zones()
        self.metrics = MemoryMetrics()
        self.crew = Crew("test", self.metrics)
        self.map = TWO_ZONES
        self.clock = HandClock(wall_ms())
        self.receipts = Receipts(
            self.zones,  # type: ignore[arg-type]  # what is asked of it is there
            lambda: self.map,
            replace(QUICK, **settings),
            self.metrics,
            self.crew,
            self.clock.clock(),
        )

    def add(self, count: int = 1, shard: int = 0, kind: ReceiptKind = ReceiptKind.RECEIVED) -> list[Receipt]:
        made = [Receipt(new_id(shard), "a", "d", kind, self.clock.wall_ms()) for _ in range(count)]
        for receipt in made:
            self.receipts.add(receipt)
        return made


@pytest.fixture
async def boxes() -> AsyncIterator[list[Box]]:
    boxes: list[Box] = []
    yield boxes
    for box in boxes:
        await box.crew.stop()


def box(boxes: list[Box], **settings: Any) -> Box:
    boxes.append(Box(**settings))
    return boxes[-1]


async def test_each_receipt_goes_to_the_zone_of_its_shard(boxes: list[Box]) -> None:
    it = box(boxes)
    east, west = it.add(3, shard=1), it.add(2, shard=150)
    assert await it.receipts.flush(5.0)
    assert (it.zones.of("east"), it.zones.of("west")) == (east, west)
    assert len(it.receipts) == 0


async def test_receipts_that_come_together_go_together_in_order_and_bounded_batches(boxes: list[Box]) -> None:
    it = box(boxes, receipts_batch=10, receipts_parallel=1)
    made = it.add(25)
    assert await it.receipts.flush(5.0)
    assert [len(batch) for _, batch in it.zones.calls] == [10, 10, 5]
    assert it.zones.of("east") == made


@pytest.mark.parametrize("error", [Unavailable("down"), DeadlineExceeded("late"), RuntimeError("a bug")])
async def test_what_is_not_taken_is_sent_again_until_it_is(boxes: list[Box], error: Exception) -> None:
    it = box(boxes)
    it.zones.down, it.zones.error = {"east"}, error
    made = it.add(3)
    while it.zones.tries < 4:
        await asyncio.sleep(0.001)
    assert len(it.receipts) == 3
    it.zones.down = set()
    assert await it.receipts.flush(5.0)
    assert sorted(it.zones.of("east"), key=lambda each: each.id) == sorted(made, key=lambda each: each.id)


async def test_a_zone_that_is_down_does_not_hold_up_another(boxes: list[Box]) -> None:
    it = box(boxes)
    it.zones.down = {"east"}
    it.add(1, shard=0)
    (west,) = it.add(1, shard=150)
    while it.zones.of("west") != [west]:
        await asyncio.sleep(0.001)
    assert len(it.receipts) == 1


async def test_receipts_of_shards_without_an_owner_wait_for_one(boxes: list[Box]) -> None:
    it = box(boxes)
    made = it.add(2, shard=250)
    assert not await it.receipts.flush(0.02)
    assert it.zones.tries == 0
    it.map = ShardMap.single("east")
    assert await it.receipts.flush(5.0)
    assert sorted(it.zones.of("east"), key=lambda each: each.id) == sorted(made, key=lambda each: each.id)


async def test_shards_that_move_take_their_waiting_receipts_along(boxes: list[Box]) -> None:
    it = box(boxes)
    it.zones.down = {"east"}
    (receipt,) = it.add(1)
    while not it.zones.tries:
        await asyncio.sleep(0.001)
    it.map = ShardMap.single("west")
    assert await it.receipts.flush(5.0)
    assert it.zones.of("west") == [receipt]


async def test_what_a_zone_takes_for_another_s_is_looked_up_again_and_the_rest_is_taken(boxes: list[Box]) -> None:
    it = box(boxes)
    it.zones.not_ours = {"east": {7}}
    (moved,), stay = it.add(1, shard=7), it.add(2, shard=8)
    while not it.zones.of("east"):
        await asyncio.sleep(0.001)
    assert it.receipts.settled(("a", "d")) == {moved.id}
    it.map = TWO_ZONES.changed_to(ShardMap.single("west").owner, at=0, forget_before=0)
    assert await it.receipts.flush(5.0)
    assert (it.zones.of("east"), it.zones.of("west")) == (stay, [moved])


async def test_receipts_of_an_earlier_time_go_where_the_shard_was_then(boxes: list[Box]) -> None:
    it = box(boxes)
    it.map = TWO_ZONES.changed_to(ShardMap.single("west").owner, at=wall_ms() + 60_000, forget_before=0)
    old = it.add(2, shard=0)
    assert await it.receipts.flush(5.0)
    assert it.zones.of("east") == old


async def test_what_no_zone_takes_for_long_is_given_up_with_a_count_and_not_called_settled(boxes: list[Box]) -> None:
    it = box(boxes, receipts_keep_s=60.0)
    it.zones.down = {"east"}
    it.add(3)
    while it.zones.tries < 2:
        await asyncio.sleep(0.001)
    assert len(it.receipts) == 3
    it.clock.advance(61.0)
    late = it.add(1)
    while len(it.receipts) > 1:
        await asyncio.sleep(0.001)
    assert it.metrics.counted(Metric.GW_RECEIPTS_DROPPED, zone="east", why="age") == 3
    assert it.receipts.settled(("a", "d")) == {late[0].id}
    it.zones.down = set()
    assert await it.receipts.flush(5.0)
    assert it.zones.of("east") == late


async def test_one_zone_s_full_buffer_takes_no_room_from_another_s(boxes: list[Box]) -> None:
    it = box(boxes, receipts_bound=2)
    it.zones.down = {"east"}
    it.add(5, shard=0)
    it.zones.hold = asyncio.Event()
    west = it.add(2, shard=150)
    it.zones.hold.set()
    while it.zones.of("west") != west:
        await asyncio.sleep(0.001)
    assert len(it.receipts) == 2


async def test_receipts_that_move_to_a_zone_without_room_are_given_up_with_a_count(boxes: list[Box]) -> None:
    it = box(boxes, receipts_bound=2)
    it.zones.down = {"east", "west"}
    it.add(2, shard=150)
    moving = it.add(2, shard=0)
    it.map = ShardMap.single("west")
    while len(it.receipts) > 2:
        await asyncio.sleep(0.001)
    assert it.metrics.counted(Metric.GW_RECEIPTS_DROPPED, zone="east", why="bound") == 2
    assert it.receipts.settled(("a", "d")).isdisjoint(receipt.id for receipt in moving)


async def test_at_the_bound_receipts_are_dropped_with_a_count_and_not_called_settled(boxes: list[Box]) -> None:
    it = box(boxes, receipts_bound=3)
    it.zones.down = {"east"}
    made = it.add(5)
    assert len(it.receipts) == 3
    assert it.metrics.counted(Metric.GW_RECEIPTS_DROPPED) == 2
    assert it.receipts.settled(("a", "d")) == {receipt.id for receipt in made[:3]}
    it.zones.down = set()
    assert await it.receipts.flush(5.0)
    it.add(1)
    assert await it.receipts.flush(5.0)
    assert len(it.zones.of("east")) == 4


async def test_an_ack_is_settled_until_it_is_taken(boxes: list[Box]) -> None:
    it = box(boxes)
    it.zones.hold = asyncio.Event()
    (acked,) = it.add(1)
    (shown,) = it.add(1, kind=ReceiptKind.RECALL_SHOWN)
    it.add(1, kind=ReceiptKind.WRITTEN)
    it.add(1, kind=ReceiptKind.LOST)
    assert it.receipts.settled(("a", "d")) == {acked.id, -shown.id}
    assert it.receipts.settled(("b", "d")) == set()
    it.zones.hold.set()
    assert await it.receipts.flush(5.0)
    assert it.receipts.settled(("a", "d")) == set()


async def test_a_gateway_s_receipts_outlive_a_dispatcher_that_is_down(site: Site) -> None:
    node = await site.node()
    client = await node.device()
    site.receipts.down = True
    sent = [offer("d-1") for _ in range(5)]
    await node.deliver(*sent)
    for _ in sent:
        await client.ack((await client.push()).id)
    await site.receipts.until(lambda receipts: receipts.tries > 3)
    assert site.receipts.taken == []
    site.receipts.down = False
    for each in sent:
        await site.receipts.of(each.id, ReceiptKind.RECEIVED)
    assert len(site.receipts.taken) == 5


@pytest.mark.parametrize("answered", [True, False])
async def test_receipts_of_a_store_that_is_away_do_not_stand_in_the_way_of_others(
    boxes: list[Box], answered: bool
) -> None:
    """A zone takes those of its other stores, but refuses a batch that is nothing but theirs."""
    it = box(boxes, receipts_batch=2, receipts_parallel=1)
    report = it.zones.report

    async def one_is_away(zone: str, receipts: Sequence[Receipt], *, timeout_s: float) -> list[int]:
        left = await report(zone, receipts, timeout_s=timeout_s)
        if len(left) == len(receipts) and not answered:
            raise Unavailable("the store is away")
        return left

    it.zones.report = one_is_away  # type: ignore[method-assign]
    it.zones.not_ours = {"east": {7}}
    away, others = it.add(3, shard=7), it.add(5, shard=1)
    async with asyncio.timeout(20):
        while sorted(each.id for each in it.zones.of("east")) != sorted(each.id for each in others):
            await asyncio.sleep(0.001)
    assert len(it.receipts) == 3
    it.zones.not_ours = {}
    assert await it.receipts.flush(5.0)
    assert {each.id for each in it.zones.of("east")} == {each.id for each in (*away, *others)}
