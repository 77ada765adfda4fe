"""Receipts of gateways: what they do to deliveries, in whatever order they come."""

import itertools

import pytest

from push_core.errors import Unavailable
from push_core.ids import SHARDS, make_id, shard_of
from push_core.lifecycle import State
from push_core.messages.sharded import ShardedMessages, Store
from push_core.messages.sql import SqlMessages
from push_core.metrics.catalogue import Metric
from push_core.models import Channels
from push_core.rpc.port import Receipt, ReceiptKind
from push_core.shards import ShardMap
from tests.dispatcher.world import APP, World

K = ReceiptKind


async def offered(world: World, *devices: str, **fields: object) -> tuple:  # type: ignore[type-arg]
    node = await world.node()
    await node.connect(*devices)
    return node, await world.push(*devices, **fields)


@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        (K.RECEIVED, State.DELIVERED, ""),
        (K.DISPLAYED, State.DISPLAYED, ""),
        (K.CLICKED, State.CLICKED, ""),
        (K.DROPPED, State.UNDELIVERABLE, "dropped"),
        (K.UNDECODABLE, State.UNDELIVERABLE, "undecodable"),
        (K.WRITTEN, State.SENDING, ""),
    ],
)
@pytest.mark.parametrize("stored", [True, False])
async def test_each_receipt_moves_its_delivery(
    world: World, kind: ReceiptKind, state: State, reason: str, stored: bool
) -> None:
    _, envelope = await offered(world, "d-1")
    await world.report(envelope, "d-1", kind, stored=stored)
    assert (await world.state(envelope, "d-1"), await world.reason(envelope, "d-1")) == (state, reason)


@pytest.mark.parametrize("order", list(itertools.permutations([K.WRITTEN, K.RECEIVED, K.DISPLAYED, K.CLICKED])))
async def test_receipts_out_of_order_end_in_the_same_state(world: World, order: tuple[ReceiptKind, ...]) -> None:
    _, envelope = await offered(world, "d-1")
    for kind in order:
        await world.report(envelope, "d-1", kind)
    assert await world.state(envelope, "d-1") is State.CLICKED


async def test_a_report_of_everything_at_once_ends_in_the_same_state(world: World) -> None:
    _, envelope = await offered(world, "d-1")
    kinds = [K.MISSED, K.DISPLAYED, K.WRITTEN, K.RECEIVED]
    await world.parts.receipts.report([world.receipt(envelope, "d-1", kind) for kind in kinds])
    assert await world.state(envelope, "d-1") is State.DISPLAYED
    assert await world.inbox("d-1") == []


async def test_an_ack_takes_the_row_from_the_inbox(world: World) -> None:
    envelope = await world.push("d-1")
    await world.report(envelope, "d-1", K.RECEIVED)
    assert await world.inbox("d-1") == []
    assert await world.state(envelope, "d-1") is State.DELIVERED


async def test_an_ack_after_the_end_is_late_and_changes_nothing(world: World) -> None:
    envelope = await world.push("d-1", expires=world.now + 1_000)
    world.time.advance(1.0)
    await world.parts.sweep.expire()
    await world.report(envelope, "d-1", K.RECEIVED)
    assert await world.state(envelope, "d-1") is State.EXPIRED
    assert world.metrics.counted(Metric.DI_RECEIPTS, applied="late") == 1


@pytest.mark.parametrize("kind", list(K))
async def test_a_foreign_receipt_changes_nothing(world: World, kind: ReceiptKind) -> None:
    _, envelope = await offered(world, "d-1")
    foreign = [
        Receipt(envelope.id, "customer", "d-1", kind, world.now, deadline=world.now),
        Receipt(envelope.id, APP, "d-2", kind, world.now, deadline=world.now),
        Receipt(envelope.id + 1, APP, "d-1", kind, world.now, deadline=world.now),
    ]
    await world.parts.receipts.report(foreign)
    assert await world.state(envelope, "d-1") is State.ACCEPTED
    if kind is not K.RECALL_SHOWN:
        assert world.metrics.counted(Metric.DI_RECEIPTS, applied="foreign") == 3


# ── no ack by the deadline ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_miss_stores_the_push_when_there_is_no_vendor(world: World) -> None:
    node, envelope = await offered(world, "d-1")
    await world.report(envelope, "d-1", K.MISSED)
    assert await world.reason(envelope, "d-1") == "ack_missed"
    (row,) = await world.inbox("d-1")
    assert row.again
    assert node.pokes == [], "it is un-acked in the live session: nothing to read there"


async def test_a_miss_asks_the_vendor_at_once(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    _, envelope = await offered(world, "d-1")
    await world.report(envelope, "d-1", K.MISSED)
    await world.handle_vendors()
    assert await world.state(envelope, "d-1") is State.VENDOR
    (row,) = await world.inbox("d-1")
    assert (row.again, row.via_vendor) == (True, True)


async def test_a_miss_of_a_long_only_push_asks_no_vendor(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    _, envelope = await offered(world, "d-1", channels=Channels.LONG)
    await world.report(envelope, "d-1", K.MISSED)
    await world.handle_vendors()
    assert await world.state(envelope, "d-1") is State.WAITING


@pytest.mark.parametrize("kind", [K.MISSED, K.LOST])
async def test_a_live_only_push_that_is_not_acked_ends(world: World, kind: ReceiptKind) -> None:
    _, envelope = await offered(world, "d-1", live_only=True, expires=world.now + 10_000)
    await world.report(envelope, "d-1", kind, deadline=world.now + 10_000)
    assert (await world.state(envelope, "d-1"), await world.reason(envelope, "d-1")) == (State.EXPIRED, "not_acked")


@pytest.mark.parametrize("kind", [K.MISSED, K.LOST])
async def test_a_miss_past_the_messages_time_ends_it(world: World, kind: ReceiptKind) -> None:
    _, envelope = await offered(world, "d-1", expires=world.now + 5_000)
    world.time.advance(5.0)
    await world.report(envelope, "d-1", kind, deadline=world.now)
    assert (await world.state(envelope, "d-1"), await world.reason(envelope, "d-1")) == (State.EXPIRED, "ttl")


async def test_a_miss_of_what_a_vendor_has_leaves_it_with_the_vendor(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    _, envelope = await offered(world, "d-1")
    await world.report(envelope, "d-1", K.MISSED)
    await world.handle_vendors()
    await world.report(envelope, "d-1", K.LOST, deadline=world.now)
    await world.report(envelope, "d-1", K.WRITTEN)
    assert await world.state(envelope, "d-1") is State.VENDOR
    await world.later(1_000.0)
    assert len(world.stub.accepted) == 1


async def test_a_vendors_yes_never_overtakes_the_devices_own_ack(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    envelope = await world.push("d-1")
    await world.report(envelope, "d-1", K.RECEIVED)
    await world.handle_vendors()
    assert await world.state(envelope, "d-1") is State.DELIVERED
    assert not world.stub.accepted


# ── connection lost ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_lost_connection_stores_at_once_and_asks_the_vendor_only_at_the_deadline(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    node, envelope = await offered(world, "d-1")
    node.sessions.clear()
    await world.report(envelope, "d-1", K.LOST, deadline=world.now + 8_000)
    assert await world.reason(envelope, "d-1") == "connection_lost"
    assert [row.again for row in await world.inbox("d-1")] == [True]
    await world.later(7.0)
    assert not world.stub.accepted
    await world.later(1.0)
    assert len(world.stub.accepted) == 1
    assert await world.state(envelope, "d-1") is State.VENDOR


async def test_a_phone_that_comes_back_and_acks_in_time_costs_no_vendor_call(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    _, envelope = await offered(world, "d-1")
    await world.report(envelope, "d-1", K.LOST, deadline=world.now + 8_000)
    await world.report(envelope, "d-1", K.RECEIVED)
    assert await world.later(1_000.0) == 0
    assert not world.stub.accepted


async def test_a_phone_that_is_back_already_is_told(world: World) -> None:
    _, envelope = await offered(world, "d-1")
    other = await world.node("gw-2")
    await other.connect("d-1")
    await world.report(envelope, "d-1", K.LOST, deadline=world.now)
    assert [poke.device for poke in other.pokes] == ["d-1"]


async def test_a_repeated_report_changes_nothing(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    _, envelope = await offered(world, "d-1")
    lost = world.receipt(envelope, "d-1", K.LOST, deadline=world.now + 5_000)
    for _ in range(3):
        await world.parts.receipts.report([lost, lost])
    assert len(await world.inbox("d-1")) == 1
    await world.later(5.0)
    assert len(world.stub.accepted) == 1


async def test_receipts_must_be_sent_again_when_the_store_is_down(world: World) -> None:
    _, envelope = await offered(world, "d-1")

    async def down(changes, *, now):  # type: ignore[no-untyped-def]
        raise Unavailable("the store is down")

    apply, world.ports.messages.apply = world.messages.apply, down  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await world.report(envelope, "d-1", K.RECEIVED)
    world.ports.messages.apply = apply  # type: ignore[method-assign]
    await world.report(envelope, "d-1", K.RECEIVED)
    assert await world.state(envelope, "d-1") is State.DELIVERED


async def test_nothing_reported_is_nothing_done(world: World) -> None:
    await world.parts.receipts.report([])


async def test_what_another_zone_s_stores_have_is_named_and_not_touched(world: World) -> None:
    _, ours = await offered(world, "d-1")
    control = world.ports.control
    await control.control.put("shards", {"zones": {"default": [[0, 99]], "west": [[100, 255]]}})
    await control.poll()
    mine = world.receipt(ours, "d-1", K.RECEIVED)
    theirs = world.receipt(ours, "d-1", K.RECEIVED, id=make_id(world.now, 100, 3, 0))
    assert await world.parts.receipts.report([theirs, mine, theirs]) == [0, 2]
    assert await world.state(ours, "d-1") is State.DELIVERED
    assert world.metrics.counted(Metric.DI_RECEIPTS, applied="elsewhere") == 2
    assert world.metrics.counted(Metric.DI_RECEIPTS, applied="foreign") == 0


async def test_a_shard_that_has_moved_leaves_its_old_messages_here(world: World) -> None:
    _, ours = await offered(world, "d-1")
    control = world.ports.control
    moved = ShardMap.single("default").changed_to(ShardMap.single("west").owner, at=world.now + 1, forget_before=0)
    await control.control.put("shards", moved.to_value())
    await control.poll()
    assert not await world.parts.receipts.report([world.receipt(ours, "d-1", K.RECEIVED)])
    assert await world.state(ours, "d-1") is State.DELIVERED


async def test_one_store_of_several_that_is_away_keeps_back_its_own_receipts_alone(world: World) -> None:
    """Acks of it come again and again, and everything that is reported with them must not."""
    first, second = world.ports.messages, await SqlMessages.open("sqlite://")
    of_first = [world.envelope("d-1"), world.envelope("d-2")]
    for envelope in of_first:
        await world.commit(envelope)
    shards = frozenset({shard_of(envelope.id) for envelope in of_first})
    stores = [Store(first, shards), Store(second, frozenset(range(SHARDS)) - shards)]
    world.ports.messages = ShardedMessages(stores)
    world.restart()
    foreign = world.receipt(world.envelope("d-1"), "d-1", K.RECEIVED, id=make_id(world.now, 200, 3, 0))

    async def down(*_: object, **__: object) -> None:
        raise Unavailable("the second store is down")

    apply, second.apply = second.apply, down  # type: ignore[method-assign, assignment]
    acked, missed = of_first
    report = [
        foreign,
        world.receipt(acked, "d-1", K.RECEIVED),
        foreign,
        world.receipt(missed, "d-2", K.MISSED),
    ]
    assert await world.parts.receipts.report(report) == [0, 2]
    assert await world.state(acked, "d-1") is State.DELIVERED
    assert [row.id for row in await world.inbox("d-2")] == [missed.id]
    with pytest.raises(Unavailable, match="second store is down"):
        await world.parts.receipts.report([foreign])
    second.apply = apply  # type: ignore[method-assign]
    assert await world.parts.receipts.report(report) is None
