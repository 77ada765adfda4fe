"""Batches that can't be read, that fail, and that find a store down: nothing is lost, nothing spins, only the poison is parked."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from dispatcher.envelopes import name_of
from dispatcher.intake import Intake
from dispatcher.publisher import join
from dispatcher.suspects import Suspects
from push_core.claims.memory import MemoryClaims
from push_core.envelope import encode, encode_batch, queue_name, vendor_queue_name
from push_core.errors import Unavailable
from push_core.lifecycle import State
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.models import Priority
from push_core.queues.memory import MemoryQueues
from push_core.queues.port import Parcel, Source
from tests.dispatcher.world import APP, World

QUEUE = queue_name("shared", Priority.NORMAL)


class Numbers:
    """Work whose items are numbers: 13 is poison, everything fails while `down`."""

    def __init__(self) -> None:
        self.handled: list[tuple[list[int], bool]] = []
        self.buried: list[int | None] = []
        self.down = False
        self.gate: asyncio.Event | None = None
        self.under_way = 0
        self.most_under_way = 0

    def decode(self, body: bytes) -> list[int]:
        return msgspec.msgpack.decode(body, type=list[int])

    async def handle(self, items: Sequence[int], *, redelivered: bool) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.down:
                raise Unavailable("the store is down")
            if 13 in items:
                raise ValueError("unlucky")
            self.handled.append((list(items), redelivered))
        finally:
            self.under_way -= 1

    def again(self, item: int) -> bytes:
        return msgspec.msgpack.encode([item])

    async def bury(self, raw: bytes, item: int | None) -> None:
        self.buried.append(item)


class Running:
    def __init__(
        self,
        parallel: int = 4,
        *,
        queues: MemoryQueues | None = None,
        claims: MemoryClaims | None = None,
        holder: str = "dispatcher-1",
        together: int = 1,
    ) -> None:
        self.queues = queues or MemoryQueues()
        self.claims = MemoryClaims() if claims is None else claims
        self.work = Numbers()
        self.metrics = MemoryMetrics()
        self.intake: Intake[int] = Intake(
            "test",
            self.queues,
            [Source("q")],
            self.work,
            self.metrics,
            Suspects(self.claims, holder, most=3),
            parallel=parallel,
            pause_max_s=0.01,
            poison_tries=2,
            deadly=3,
            together=together,
        )
        self.task = asyncio.create_task(self.intake.run())

    async def put(self, *bodies: object) -> None:
        await self.queues.publish(
            [Parcel("q", body if isinstance(body, bytes) else msgspec.msgpack.encode(body)) for body in bodies]
        )

    async def stop(self, grace_s: float = 5.0) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.intake.stop(grace_s)


async def until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_a_batch_is_handled_and_acked() -> None:
    running = Running()
    await running.put([1, 2])
    await until(lambda: running.work.handled)
    await running.stop()
    assert running.work.handled == [([1, 2], False)]
    assert await running.queues.depth("q") == 0


async def test_a_batch_that_fails_again_and_again_is_split_and_only_the_poison_is_parked() -> None:
    running = Running()
    await running.put([1, 13, 2])
    await until(lambda: running.work.buried)
    await running.stop()
    assert running.work.handled == [([1], True), ([2], True)]
    assert running.work.buried == [13]
    assert [msgspec.msgpack.decode(parked.body) for parked in await running.queues.parked("q")] == [[13]]


async def test_poison_is_parked_before_its_deliveries_are_ended() -> None:
    """To end them first would remove the last trace of it, should the park be down."""
    running = Running()
    park, tried = running.queues.park, asyncio.Event()

    async def down(*_: object, **__: object) -> None:
        tried.set()
        raise Unavailable("the queue is down")

    running.queues.park = down  # type: ignore[method-assign]
    await running.put([13])
    await tried.wait()
    assert running.work.buried == []
    running.queues.park = park  # type: ignore[method-assign]
    await until(lambda: running.work.buried == [13])
    assert len(await running.queues.parked("q")) == 1
    await running.stop()


async def test_an_unreadable_item_is_parked_alone_and_at_once() -> None:
    running = Running()
    await running.put([1, "text", 2])
    await until(lambda: running.work.buried)
    await running.stop()
    assert sorted(running.work.handled) == [([1], False), ([2], False)]
    assert running.work.buried == [None]


async def test_a_body_that_is_no_batch_is_parked_whole() -> None:
    running = Running()
    await running.put(b"\xc1garbage")
    await until(lambda: running.work.buried)
    await running.stop()
    assert (await running.queues.parked("q"))[0].body == b"\xc1garbage"


async def test_a_store_that_is_down_makes_no_poison() -> None:
    running = Running()
    running.work.down = True
    await running.put([1])
    await until(lambda: running.intake._backoff.attempt > 5)
    running.work.down = False
    await until(lambda: running.work.handled)
    await running.stop()
    assert running.work.buried == []
    assert await running.queues.parked("q") == []
    assert running.work.handled == [([1], True)]


async def test_an_outage_takes_no_try_from_a_batch() -> None:
    """It was counted once, and then every batch of an outage was handled envelope by envelope when the store was back."""
    running = Running()
    running.work.down = True
    await running.put([1, 2, 3])
    await until(lambda: running.intake._backoff.attempt > 5)
    running.work.down = False
    await until(lambda: running.work.handled)
    await running.stop()
    assert running.work.handled == [([1, 2, 3], True)]


async def die_of(queues: MemoryQueues, claims: MemoryClaims, holder: str) -> None:
    """A dispatcher that takes a batch and is never heard of again; its connection ends, and the broker hands the batch out once more."""
    running = Running(queues=queues, claims=claims, holder=holder)
    running.work.gate = asyncio.Event()
    await until(lambda: running.work.under_way)
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)
    for task in running.intake._under_way:
        task.cancel()
    assert running.intake._consumer is not None
    await running.intake._consumer.close()


async def test_a_batch_over_which_dispatchers_die_is_tried_item_by_item_and_the_deadly_one_parked() -> None:
    queues, claims = MemoryQueues(), MemoryClaims()
    await queues.publish([Parcel("q", msgspec.msgpack.encode([1, 66]))])
    for death in range(4):  # the first does not know that the batch came back, and makes no claim
        await die_of(queues, claims, f"dispatcher-{death}")
    splitting = Running(queues=queues, claims=claims, holder="dispatcher-5")
    await until(lambda: len(splitting.work.handled) == 2)
    await splitting.stop()
    assert splitting.work.handled == [([1], False), ([66], False)]
    assert await queues.depth("q") == 0

    await queues.publish([Parcel("q", msgspec.msgpack.encode([66]))])
    for death in range(4):
        await die_of(queues, claims, f"dispatcher-{death + 10}")
    last = Running(queues=queues, claims=claims, holder="dispatcher-20")
    await until(lambda: last.work.buried)
    await last.stop()
    assert (last.work.buried, last.work.handled) == ([66], [])
    (parked,) = await queues.parked("q")
    assert parked.reason == "RuntimeError: 3 programs died while they handled it"


async def test_batches_under_way_are_bounded() -> None:
    running = Running(parallel=2)
    running.work.gate = asyncio.Event()
    await running.put(*([n] for n in range(6)))
    await until(lambda: running.work.under_way == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    running.work.gate.set()
    await until(lambda: len(running.work.handled) == 6)
    await running.stop()
    assert running.work.most_under_way == 2


async def test_stopping_waits_for_what_is_under_way() -> None:
    running = Running()
    running.work.gate = asyncio.Event()
    await running.put([1])
    await until(lambda: running.work.under_way)
    stopping = asyncio.create_task(running.stop())
    await asyncio.sleep(0)
    running.work.gate.set()
    await stopping
    assert running.work.handled == [([1], False)]
    assert await running.queues.depth("q") == 0


async def test_stopping_without_time_gives_back_what_is_under_way() -> None:
    running = Running()
    running.work.gate = asyncio.Event()
    await running.put([1])
    await until(lambda: running.work.under_way)
    await running.stop(0.0)
    assert await running.queues.depth("q") == 1


# ── envelopes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_unreadable_envelope_ends_its_deliveries_and_takes_nobody_with_it(world: World) -> None:
    good, bad = world.envelope("d-1"), world.envelope("d-2")
    await world.commit(good, bad)
    torn = encode_batch([bad])[1:].replace(b"normal", b"purple")
    await world.queues.publish([Parcel(QUEUE, join([encode(good), torn]))])
    await world.handle()
    assert await world.state(good, "d-1") is State.WAITING
    assert (await world.state(bad, "d-2"), await world.reason(bad, "d-2")) == (State.UNDELIVERABLE, "poison")
    assert [parked.body for parked in await world.queues.parked(QUEUE)] == [join([torn])]


async def test_a_poison_message_to_an_alias_ends_itself(world: World) -> None:
    bad = world.envelope(alias="u-1")
    await world.commit(bad)
    await world.queues.publish([Parcel(QUEUE, join([encode(bad).replace(b"normal", b"purple")]))])
    await world.handle()
    (view,) = await world.messages.get([(APP, bad.id)])
    assert view is not None
    assert (view.state, view.reason) == (State.UNDELIVERABLE, "poison")


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x91\x01", b"\x93\x01\x02\x03", b"\xa3abc"])
def test_what_names_no_delivery_ends_none(raw: bytes) -> None:
    assert name_of(raw) is None


async def test_an_unreadable_vendor_job_is_parked_and_its_row_brings_another(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    envelope = await world.push("d-1")
    queue = vendor_queue_name("stub")
    consumer = await world.queues.consume([Source(queue)])
    await consumer.ack([(await consumer.take()).tag])
    await consumer.close()
    await world.queues.publish([Parcel(queue, msgspec.msgpack.encode([["not", "a", "job"]]))])
    await world.handle_vendors()
    assert len(await world.queues.parked(queue)) == 1
    await world.later(60.0)
    assert await world.state(envelope, "d-1") is State.VENDOR


async def settled(running: Running) -> None:
    async with asyncio.timeout(10):
        while running.intake._under_way or await running.queues.depth("q"):
            await asyncio.sleep(0)
    await running.stop()


async def test_small_batches_that_lie_ready_are_handled_as_one() -> None:
    running = Running(together=16)
    await running.put([1], [2, 3], [4])
    await settled(running)
    assert running.work.handled == [([1, 2, 3, 4], False)]


async def test_no_more_than_so_many_are_handled_as_one_and_large_ones_alone() -> None:
    running = Running(1, together=2)
    await running.put([1], [2], [3], list(range(100, 30_000)), [4], [5])
    await settled(running)
    assert [len(items) for items, _ in running.work.handled] == [2, 1 + 29_900, 2]
    running = Running(1, together=2)
    await running.put(list(range(100, 30_000)), [4], [5])
    await settled(running)
    assert [len(items) for items, _ in running.work.handled] == [29_900, 2]


async def test_poison_among_batches_that_are_handled_as_one_is_found_and_the_others_are_not_parked() -> None:
    running = Running(together=16)
    await running.put([1], [13], [2])
    await until(lambda: running.work.buried)
    await settled(running)
    assert sorted(running.work.handled) == [([1], True), ([2], True)]
    assert running.work.buried == [13]
    assert [msgspec.msgpack.decode(parked.body) for parked in await running.queues.parked("q")] == [[13]]


async def test_a_batch_that_can_t_be_read_spoils_none_of_those_beside_it() -> None:
    running = Running(together=16)
    await running.put([1], b"\xc1", [2])
    await settled(running)
    assert sorted(running.work.handled) == [([1], True), ([2], True)]
    assert len(await running.queues.parked("q")) == 1


async def test_batches_stay_together_through_an_outage_and_are_repeats_then() -> None:
    running = Running(together=16)
    running.work.down = True
    await running.put([1], [2])
    await until(lambda: running.metrics.counted(Metric.DI_GIVEN_BACK, queue="q") >= 4)
    running.work.down = False
    await settled(running)
    assert running.work.handled == [([1, 2], True)]


async def test_a_batch_that_came_back_is_handled_alone_beside_the_fresh_ones() -> None:
    queues = MemoryQueues()
    await queues.publish([Parcel("q", msgspec.msgpack.encode([number])) for number in (1, 2, 3)])
    consumer = await queues.consume([Source("q")])
    taken = [await consumer.take(), await consumer.take()]
    await consumer.give_back([taken[1].tag])
    await consumer.ack([taken[0].tag])
    await consumer.close()
    running = Running(queues=queues, together=16)
    await settled(running)
    assert sorted(running.work.handled) == [([2], True), ([3], False)]
