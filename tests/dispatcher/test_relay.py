"""What a crash left is found by reading ids again."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from dispatcher.relay import BROKER_CURSOR
from dispatcher.settings import DispatcherSettings
from push_core.envelope import decode_batch, queue_name
from push_core.errors import Unavailable
from push_core.lifecycle import State
from push_core.messages.port import Later, NewMessage, Task
from push_core.metrics.catalogue import Metric
from push_core.models import Priority
from push_core.queues.memory import MemoryQueues
from push_core.queues.port import Parcel, Published, Source
from push_core.rpc.port import Poke, ReceiptKind, Taking
from tests.dispatcher.world import APP, World

QUEUE = queue_name("shared", Priority.NORMAL)


async def see_broker(world: World) -> None:
    """The first look of a relay at a broker's life is not what these tests are about."""
    await world.parts.relay.run_once()


async def relay(world: World, seconds: float) -> int:
    world.time.advance(seconds)
    return await world.parts.relay.run_once()


async def test_a_crash_between_commit_and_publish_is_found(world: World) -> None:
    await see_broker(world)
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    assert await relay(world, 4.0) == 0
    assert await relay(world, 2.0) == 1
    await world.later(5.0)
    assert await world.state(envelope, "d-1") is State.WAITING
    assert world.metrics.counted(Metric.DI_RELAY_REPUBLISHED) == 1


async def test_an_alias_that_nobody_expanded_is_found(world: World) -> None:
    await see_broker(world)
    await world.register("d-1", alias="u-1")
    envelope = world.envelope(alias="u-1")
    await world.commit(envelope)
    assert await relay(world, 6.0) == 1
    await world.later(5.0)
    assert await world.state(envelope, "d-1") is State.WAITING
    assert await world.later(1_000.0) == 1, "its row is looked at once more"
    assert await world.later(1_000.0) == 0


async def test_a_crash_after_the_publish_that_lost_the_broker_too_is_found_at_once(world: World) -> None:
    await see_broker(world)
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    world.ports.queues = world.queues = MemoryQueues(monotonic=world.time.monotonic)
    world.restart()
    assert await world.parts.relay.run_once() == 1
    await world.later()
    assert await world.state(envelope, "d-1") is State.WAITING


async def test_a_life_of_the_broker_is_noticed_once_by_all_dispatchers_together(world: World) -> None:
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    assert await world.parts.relay.run_once() == 1
    await world.later()
    world.restart()
    assert await world.parts.relay.run_once() == 0


async def test_a_commit_that_became_visible_late_is_found_by_the_later_reading(world: World) -> None:
    await see_broker(world)
    envelope = world.envelope("d-1")
    world.time.advance(6.0)
    assert await world.parts.relay.run_once() == 0
    await world.messages.commit(
        [NewMessage(envelope=one) for one in [envelope]], now=envelope.sent
    )  # by a clock that lags: the store's own check is not what is tested
    assert await relay(world, 30.0) == 0
    assert await relay(world, 30.0) == 1
    await world.later(5.0)
    assert await world.state(envelope, "d-1") is State.WAITING


async def test_what_waits_in_its_queue_is_not_published_a_second_time(world: World) -> None:
    """A backlog is not fed by its own relay."""
    await see_broker(world)
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    await world.publish(envelope)
    for _ in range(20):
        await relay(world, 5.0)
        await world.parts.later.run_once()
    assert await world.queues.depth(QUEUE) == 1
    await world.handle()
    assert await world.state(envelope, "d-1") is State.WAITING
    await world.later(1_000.0)
    assert await world.later(1_000.0) == 0


async def test_gaps_double_while_nobody_handles_it() -> None:
    # One reading only: each of the later ones may bring a row forward once.
    world = await World.open(DispatcherSettings(relay_second_s=10_000.0, relay_third_s=20_000.0))
    await see_broker(world)
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    published = []
    for second in range(200):
        await relay(world, 1.0)
        await world.parts.later.run_once()
        if await world.queues.depth(QUEUE):
            published.append(second)
            world.queues = world.ports.queues = MemoryQueues(monotonic=world.time.monotonic)
            # The queue is emptied without a word, and without a new life of the broker that the relay could see.
            world.parts.relay._queues = world.queues
            world.parts.relay._incarnation = world.queues.incarnation()
            for due in world.parts.later._work.values():
                due.__self__._queues = world.queues  # type: ignore[attr-defined]
    assert [later - earlier for earlier, later in itertools.pairwise(published)] == [10, 20, 40, 80]
    assert world.metrics.counted(Metric.DI_RELAY_STUCK) == 1, "the fifth time is told: somebody should look"
    await world.close()


async def test_publishing_again_runs_under_a_rate() -> None:
    world = await World.open(DispatcherSettings(relay_rate=10, relay_rate_max=10))
    await see_broker(world)
    envelopes = [world.envelope(f"d-{n}") for n in range(35)]
    await world.commit(*envelopes)
    rows = [Later(id=one.id, app=APP, device=one.devices[0], task=Task.REPUBLISH, due=world.now) for one in envelopes]
    await world.messages.put_later(rows)
    seen, taken = [], []
    for _ in range(5):
        taken.append(await world.later(1.0))
        seen.append(world.metrics.counted(Metric.DI_RELAY_REPUBLISHED))
    assert seen == [10, 20, 30, 35, 35]
    assert taken == [35, 10, 10, 5, 0], "what has to wait is left alone until its turn"
    await world.close()


async def test_a_message_whose_publish_was_not_confirmed_is_published_at_once(world: World) -> None:
    """The row that the API leaves behind names the whole message."""
    envelope = world.envelope("d-1", "d-2")
    await world.commit(envelope)
    await world.messages.put_later([Later(id=envelope.id, app=APP, device="", task=Task.REPUBLISH, due=world.now)])
    await world.later()
    assert [await world.state(envelope, device) for device in envelope.devices] == [State.WAITING] * 2


async def test_a_row_of_the_whole_message_publishes_only_what_is_open(world: World) -> None:
    node = await world.node()
    await node.connect("d-1", "d-2")
    envelope = await world.push("d-1", "d-2")
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    node.unacked = {(APP, device): {} for device in ("d-1", "d-2")}
    await world.messages.put_later([Later(id=envelope.id, app=APP, device="", task=Task.REPUBLISH, due=world.now)])
    await world.later()
    assert [row[2] for row in node.written] == ["d-1", "d-2", "d-2"]


async def test_a_gateway_that_can_t_be_told_twice_is_told_the_third_time(world: World) -> None:
    """The device is connected and nothing else will make its gateway look: giving up would mean waiting for a reconnect."""
    node = await world.node()
    await node.connect("d-1")
    node.plan["d-1"] = Taking.FULL
    node.refuse_pokes = True
    await world.push("d-1")
    await world.later(10.0)
    assert node.pokes == []
    node.refuse_pokes = False
    await world.later(10.0)
    assert node.pokes == [Poke(APP, "d-1")]
    assert await world.later(1_000.0) == 0


async def test_an_expansion_goes_on_while_a_device_of_its_first_page_is_still_open(world: World) -> None:
    """The dispatcher died after the first page, and that page's device takes its time to ack."""
    await see_broker(world)
    for device in ("d-1", "d-2"):
        await world.register(device, alias="u-1")
    node = await world.node()
    await node.connect("d-1")
    envelope = world.envelope(alias="u-1")
    await world.commit(envelope)
    await world.messages.expand([(envelope.id, APP, ["d-1"])], now=world.now)
    assert await relay(world, 6.0) == 2
    await world.later(5.0)
    assert [row[2] for row in node.written] == ["d-1"]
    assert await world.state(envelope, "d-2") is State.WAITING


@pytest.mark.parametrize("pages", [1, 3])
async def test_readings_go_page_by_page(pages: int) -> None:
    world = await World.open(DispatcherSettings(relay_page=5))
    await see_broker(world)
    envelope = world.envelope(*(f"d-{n:02}" for n in range(5 * pages)))
    await world.commit(envelope)
    assert await relay(world, 6.0) == 5 * pages
    await world.close()


async def test_a_dispatcher_that_died_after_taking_a_batch_loses_nothing(world: World) -> None:
    await see_broker(world)
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    await world.publish(envelope)
    handling = asyncio.create_task(world.handle())
    await asyncio.sleep(0)
    handling.cancel()
    await asyncio.gather(handling, return_exceptions=True)
    world.restart()
    await world.handle()
    assert await world.state(envelope, "d-1") is State.WAITING


async def test_when_a_reading_got_to_its_end_is_told(world: World) -> None:
    def read() -> float | None:
        return world.metrics.newest(Metric.DI_RELAY_READ, reading="5000")

    await see_broker(world)
    assert read() == world.now // 1_000
    world.time.advance(300.0)
    assert read() != world.now // 1_000
    await relay(world, 1.0)
    assert read() == world.now // 1_000


# ── a broker that is lost, and comes back ─────────────────────────────────────────────────────────────────────────────


async def test_two_relays_publish_what_a_broker_lost_once(world: World) -> None:
    await see_broker(world)
    envelopes = [world.envelope(f"d-{n}") for n in range(20)]
    await world.commit(*envelopes)
    world.replace_queues(MemoryQueues(monotonic=world.time.monotonic))
    first = world.parts
    world.restart()
    second = world.parts
    world.time.advance(1.0)
    await asyncio.gather(first.relay.run_once(), second.relay.run_once())
    assert await first.relay.run_once() == await second.relay.run_once() == 0
    await asyncio.gather(first.later.run_once(), second.later.run_once())
    assert world.metrics.counted(Metric.DI_RELAY_REPUBLISHED) == 20


async def test_one_row_remembers_the_brokers_lives(world: World) -> None:
    places = []
    for _ in range(3):
        await world.parts.relay.run_once()
        places.append(await world.messages.cursor(BROKER_CURSOR))
        world.replace_queues(MemoryQueues(monotonic=world.time.monotonic))
    assert places == sorted(set(places)), "it can only go forward"
    assert [place >> 32 for place in places] == [1, 2, 3]


async def test_a_life_that_is_not_known_yet_is_no_news(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.queues, "incarnation", lambda: "")
    await world.commit(world.envelope("d-1"))
    assert await world.parts.relay.run_once() == 0
    assert await world.messages.cursor(BROKER_CURSOR) == 0


async def test_what_still_waits_when_only_a_part_was_lost_is_not_published_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several queues was deleted: whoever noticed says that something was lost, not what."""
    await see_broker(world)
    queued, lost = world.envelope("d-1"), world.envelope("d-2", priority=Priority.LOW)
    await world.commit(queued, lost)
    await world.publish(queued)
    world.time.advance(3.0)
    monkeypatch.setattr(world.queues, "incarnation", lambda: "another life")
    assert await world.parts.relay.run_once() == 2
    await world.parts.later.run_once()
    assert await world.queues.depth(QUEUE) == 1
    assert await world.queues.depth(queue_name("shared", Priority.LOW)) == 1


class Broker:
    """The queues, which can be out of reach."""

    def __init__(self, queues: MemoryQueues) -> None:
        self._queues = queues
        self.away = False
        self.publishes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queues, name)

    async def publish(self, parcels: Sequence[Parcel]) -> list[Published]:
        self.publishes += 1
        return [Published.UNCONFIRMED] * len(parcels) if self.away else await self._queues.publish(parcels)

    async def oldest_age_s(self, queue: str) -> float:
        if self.away:
            raise Unavailable("the broker is away")
        return await self._queues.oldest_age_s(queue)


async def test_while_the_broker_is_away_rows_wait_for_moments_and_lose_no_try(world: World) -> None:
    """Gaps that doubled during an outage would keep messages back long after its end."""
    broker = Broker(world.queues)
    world.ports.queues = broker
    world.restart()
    await see_broker(world)
    envelopes = [world.envelope(f"d-{n}") for n in range(5)]
    await world.commit(*envelopes)
    await world.messages.put_later(
        [Later(id=one.id, app=APP, device=one.devices[0], task=Task.REPUBLISH, due=world.now) for one in envelopes]
    )
    broker.away = True
    for _ in range(60):
        world.time.advance(1.0)
        await world.parts.later.run_once()
    assert world.metrics.counted(Metric.DI_RELAY_REPUBLISHED) == 0
    broker.away = False
    for _ in range(3):
        await world.later(1.0)
    assert world.metrics.counted(Metric.DI_RELAY_REPUBLISHED) == 5
    assert {await world.state(one, one.devices[0]) for one in envelopes} == {State.WAITING}


async def test_what_was_not_confirmed_is_published_again_in_moments(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_broker(world)
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    await world.messages.put_later([Later(id=envelope.id, app=APP, device="d-1", task=Task.REPUBLISH, due=world.now)])
    publish = world.queues.publish
    monkeypatch.setattr(world.queues, "publish", lambda parcels: unconfirmed(parcels))
    await world.parts.later.run_once()
    monkeypatch.setattr(world.queues, "publish", publish)
    for _ in range(3):
        await world.later(1.0)
    assert await world.state(envelope, "d-1") is State.WAITING


async def unconfirmed(parcels: Sequence[Parcel]) -> list[Published]:
    return [Published.UNCONFIRMED] * len(parcels)


async def test_a_device_with_two_rows_is_published_to_once(world: World) -> None:
    await see_broker(world)
    envelope = world.envelope("d-1", "d-2")
    await world.commit(envelope)
    rows = [
        Later(id=envelope.id, app=APP, device=device, task=Task.REPUBLISH, due=world.now)
        for device in ("", "d-1", "d-2")
    ]
    await world.messages.put_later(rows)
    await world.parts.later.run_once()
    consumer = await world.queues.consume([Source(QUEUE)])
    (again,) = decode_batch((await consumer.take()).body)
    assert sorted(again.devices) == ["d-1", "d-2"]
    await consumer.close()
