"""What belongs to RabbitMQ alone: lives of the broker, deleted queues, silent consumers, other options, idle bodies, several programs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ops.cluster.servers import Server
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.queues import amqp_consumer, amqp_life
from push_core.queues.amqp import AmqpQueues
from push_core.queues.amqp_channel import ConsumeChannel
from push_core.queues.amqp_consumer import AmqpConsumer
from push_core.queues.amqp_settings import AmqpSettings
from push_core.queues.port import Parcel, Published, Source, Taken
from tests.support.amqp import amqp_queues, channel_of, settings_of
from tests.support.until import until


@pytest.fixture
def settings(rabbit_server: Server) -> AmqpSettings:
    return settings_of(rabbit_server.dsn)


@pytest.fixture
async def queues(settings: AmqpSettings) -> AsyncIterator[AmqpQueues]:
    async with amqp_queues(settings) as queues:
        yield queues


async def publish(queues: AmqpQueues, *bodies: str) -> None:
    assert await queues.publish([Parcel("q", body.encode()) for body in bodies]) == [Published.CONFIRMED] * len(bodies)


async def take(consumer: AmqpConsumer) -> Taken:
    return await asyncio.wait_for(consumer.take(), 20)


async def has_consumer(settings: AmqpSettings) -> bool:
    async with channel_of(settings) as channel:
        return bool((await channel.queue_declare(settings.name("q"), passive=True)).consumer_count)


# ── lives of the broker ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_all_programs_agree_on_the_brokers_life(settings: AmqpSettings) -> None:
    others = [AmqpQueues(settings) for _ in range(6)]
    await asyncio.gather(*(other.ping() for other in others))
    assert len({other.incarnation() for other in others}) == 1
    async with amqp_queues(settings) as later:
        assert later.incarnation() == others[0].incarnation()
        for other in others:
            await other.close()


async def test_two_brokers_have_two_lives(rabbit_server: Server) -> None:
    async with amqp_queues(settings_of(rabbit_server.dsn)) as one, amqp_queues(settings_of(rabbit_server.dsn)) as other:
        assert one.incarnation() != other.incarnation()


async def test_a_deleted_queue_is_made_again_and_everybody_is_told_that_something_was_lost(
    settings: AmqpSettings, queues: AmqpQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp_life, "LOOK_EVERY_S", 0.1)
    async with amqp_queues(settings) as other, channel_of(settings) as channel:
        await publish(queues, "lost")
        life = other.incarnation()
        await channel.queue_delete(settings.name("q"))
        await publish(queues, "kept")
        await until(lambda: other.incarnation() == queues.incarnation() != life)
        assert await other.depth("q") == 1


async def test_a_consumer_outlives_the_deletion_of_its_queue(settings: AmqpSettings, queues: AmqpQueues) -> None:
    consumer = await queues.consume([Source("q"), Source("other")])
    taking = asyncio.create_task(take(consumer))
    await publish(queues, "a")
    await consumer.ack([(await taking).tag])
    life = queues.incarnation()
    for _ in range(3):
        taking = asyncio.create_task(take(consumer))
        async with channel_of(settings) as channel:
            await channel.queue_delete(settings.name("q"))
        await publish(queues, "b")
        await consumer.ack([(await taking).tag])
    await until(lambda: queues.incarnation() != life)
    assert await queues.depth("q") == 0


async def test_a_queue_that_is_deleted_while_it_is_asked_is_made_again(
    settings: AmqpSettings, queues: AmqpQueues
) -> None:
    """Asked for one body at a time it is not subscribed to, and nobody tells."""
    await publish(queues, "a", "b", "c")
    consumer = await queues.consume([Source("q")])
    await take(consumer)
    async with channel_of(settings) as channel:
        await channel.queue_delete(settings.name("q"))
    taking = asyncio.create_task(take(consumer))
    await publish(queues, "d")
    assert (await taking).body == b"d"


# ── consumers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_consumer_that_is_sent_nothing_although_there_is_something_is_made_anew(
    settings: AmqpSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp_consumer, "WATCH_EVERY_S", 0.1)
    metrics = MemoryMetrics()
    async with amqp_queues(settings, metrics=metrics) as queues:
        consumer = await queues.consume([Source("q")])
        taking = asyncio.create_task(take(consumer))
        await publish(queues, "a")
        await consumer.ack([(await taking).tag])
        taking = asyncio.create_task(take(consumer))
        await until(lambda: has_consumer(settings))
        channel = consumer._channel
        assert channel is not None
        channel.unsubscribe(consumer._sources[0].consumer_tag)  # behind its back
        await publish(queues, "b")
        assert (await taking).body == b"b"
        assert metrics.counted(Metric.QUEUES_REBUILT) == 1
        async with channel_of(settings) as beside:
            declared = await beside.queue_declare(settings.name("q"), passive=True)
            assert declared.consumer_count <= 1


async def test_what_was_sent_ahead_and_nobody_takes_goes_to_another_program(
    queues: AmqpQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp_consumer, "IDLE_S", 0.1)
    busy, free = await queues.consume([Source("q")]), await queues.consume([Source("q")])
    taking = asyncio.create_task(take(busy))
    await until(lambda: busy._sources[0].waits)
    await publish(queues, *(str(n) for n in range(8)))
    first = await taking
    taken = [await take(free) for _ in range(7)]
    assert sorted([first.body, *(one.body for one in taken)]) == [b"%d" % n for n in range(8)]
    await free.ack([one.tag for one in taken])
    await publish(queues, "more")
    assert (await take(busy)).body == b"more"


async def test_from_a_backlog_nothing_is_sent_ahead_to_who_asks_for_little(queues: AmqpQueues) -> None:
    await publish(queues, *(str(n) for n in range(10)))
    consumer = await queues.consume([Source("q", prefetch=10)])
    await take(consumer)
    assert await queues.depth("q") == 9


async def test_who_takes_all_the_time_is_sent_ahead(queues: AmqpQueues) -> None:
    for _ in range(10):
        await publish(queues, *(str(n) for n in range(50)))
    consumer = await queues.consume([Source("q", prefetch=8)])
    seen = []
    for _ in range(500):
        taken = await take(consumer)
        seen.append(int(taken.body))
        await consumer.ack([taken.tag])
    assert seen == list(range(50)) * 10
    assert consumer._sources[0].consumer_tag


async def test_one_consumer_is_seen_by_the_broker_for_each_of_ours(settings: AmqpSettings, queues: AmqpQueues) -> None:
    consumer = await queues.consume([Source("q")])
    seen: set[bytes] = set()

    async def take_all() -> None:
        while True:
            taken = await consumer.take()
            seen.add(taken.body)
            await consumer.ack([taken.tag])

    taking = asyncio.create_task(take_all())
    for n in range(3):
        await until(lambda: consumer._sources[0].waits)
        (await consumer._link.up()).abort()
        await publish(queues, str(n))
        await until(lambda n=n: str(n).encode() in seen)  # type: ignore[misc]
    await until(lambda: consumer._sources[0].waits)
    async with channel_of(settings) as channel:
        declared = await channel.queue_declare(settings.name("q"), passive=True)
        assert declared.consumer_count == 1
    taking.cancel()


@pytest.mark.parametrize("sources", [[Source("q"), Source("q")], [Source("q", weight=0)], [Source("q", prefetch=0)]])
async def test_sources_that_make_no_sense_are_refused(queues: AmqpQueues, sources: list[Source]) -> None:
    with pytest.raises(ValueError, match=r"named twice|at least 1"):
        await queues.consume(sources)


# ── queues ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_queue_that_was_made_with_other_options_is_used_as_it_is(rabbit_server: Server) -> None:
    settings = settings_of(rabbit_server.dsn, length=2)
    async with amqp_queues(settings) as queues:
        await publish(queues, "a")
        async with amqp_queues(settings_of(rabbit_server.dsn, prefix=settings.prefix, length=3)) as newer:
            consumer = await newer.consume([Source("q")])
            await consumer.ack([(await take(consumer)).tag])
            await consumer.close()
            await publish(newer, "b", "c")
            assert await newer.publish([Parcel("q", b"d")]) == [Published.FULL]


async def test_a_queue_is_bounded_in_bytes_too(rabbit_server: Server) -> None:
    async with amqp_queues(settings_of(rabbit_server.dsn, queue_bytes=100)) as queues:
        outcomes = await queues.publish([Parcel("q", b"x" * 60), Parcel("q", b"x" * 60), Parcel("q", b"x")])
        assert outcomes == [Published.CONFIRMED, Published.FULL, Published.CONFIRMED]


async def test_a_name_that_the_broker_can_t_have_spoils_its_own_body_only(queues: AmqpQueues) -> None:
    parcels = [Parcel("q", b"a"), Parcel("x" * 300, b"b"), Parcel("q", b"c")]
    outcomes = await queues.publish(parcels)
    assert outcomes == [Published.CONFIRMED, Published.UNCONFIRMED, Published.CONFIRMED]


async def test_quorum_queues_work_too(rabbit_server: Server) -> None:
    async with amqp_queues(settings_of(rabbit_server.dsn, queue_type="quorum")) as queues:
        consumer = await queues.consume([Source("q")])
        taking = asyncio.create_task(take(consumer))
        await publish(queues, "a", "b")
        first = await taking
        await consumer.give_back([first.tag])
        again = [await take(consumer), await take(consumer)]
        assert [(one.body, one.redelivered, one.tries) for one in again] == [(b"a", True, 1), (b"b", False, 0)]
        await consumer.close()
        assert await queues.depth("q") == 2
        assert await queues.oldest_age_s("q") >= 0
        await queues.park("q", b"poison", "odd")
        assert await queues.retry_parked("q") == 1


async def test_many_publishers_of_one_program_share_a_channel(queues: AmqpQueues) -> None:
    outcomes = await asyncio.gather(*(queues.publish([Parcel(f"q{n % 3}", b"x")] * 20) for n in range(30)))
    assert {outcome for some in outcomes for outcome in some} == {Published.CONFIRMED}
    assert sum([await queues.depth(f"q{n}") for n in range(3)]) == 600


async def test_a_publish_whose_caller_goes_away_spoils_nobody_elses(queues: AmqpQueues) -> None:
    await publish(queues, "first")
    publishing = asyncio.create_task(queues.publish([Parcel("q", b"x" * 200_000)] * 20))
    await asyncio.sleep(0)
    publishing.cancel()
    await publish(queues, "second")
    assert publishing.cancelled() or publishing.done()


async def test_a_subscription_that_is_given_up_before_it_came_about_does_not_stay(
    settings: AmqpSettings, queues: AmqpQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows it: each body that it brings would be put back, and brought again, as fast as the broker can."""
    monkeypatch.setattr(amqp_consumer, "IDLE_S", 0.05)
    subscribe, may_go_on, begun = ConsumeChannel.subscribe, asyncio.Event(), asyncio.Event()

    async def slowly(channel: ConsumeChannel, *what: Any) -> None:
        begun.set()
        await may_go_on.wait()
        await subscribe(channel, *what)

    monkeypatch.setattr(ConsumeChannel, "subscribe", slowly)
    await publish(queues, "a")
    consumer = await queues.consume([Source("q")])
    await consumer.give_back([(await take(consumer)).tag])
    await begun.wait()
    await until(lambda: not consumer._sources[0].consumer_tag)  # idle: given up
    may_go_on.set()
    await until(lambda: not any(task.get_name() == "amqp.subscribe" for task in consumer._tasks))
    assert not await has_consumer(settings)
    taken = await take(consumer)
    assert taken.body == b"a"
    await consumer.ack([taken.tag])
