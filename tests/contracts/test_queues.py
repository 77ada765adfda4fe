"""What every queue adapter promises."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ops.cluster.servers import Server
from push_core.errors import Unavailable
from push_core.queues.memory import MemoryQueues
from push_core.queues.port import Consumer, ConsumerClosed, Parcel, Published, Queues, Source, Taken
from tests.support.amqp import amqp_queues, settings_of
from tests.support.hand_clock import HandClock

PassTime = Callable[[float], Awaitable[None]]
LENGTH = 50  # the limit that the queues under test are made with
PARKED = 5


def parcels(queue: str, *bodies: str) -> list[Parcel]:
    return [Parcel(queue, body.encode()) for body in bodies]


async def take(consumer: Consumer, n: int = 1) -> list[Taken]:
    return [await asyncio.wait_for(consumer.take(), 5) for _ in range(n)]


def bodies(taken: list[Taken]) -> list[str]:
    return [one.body.decode() for one in taken]


async def is_idle(taking: "asyncio.Task[Taken]") -> bool:
    """Whether a take still waits although everything that was under way in this process has run."""
    for _ in range(10):
        await asyncio.sleep(0)
    return not taking.done()


class QueuesContract:
    """Subclasses give the fixtures `queues` (empty; LENGTH bodies a queue, PARKED parked ones) and `pass_time`."""

    # ── in and out ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_what_is_published_is_taken_in_order_once(self, queues: Queues) -> None:
        assert await queues.publish(parcels("q", "a", "b", "c")) == [Published.CONFIRMED] * 3
        consumer = await queues.consume([Source("q")])
        taken = await take(consumer, 3)
        assert bodies(taken) == ["a", "b", "c"]
        assert [(one.queue, one.redelivered, one.tries) for one in taken] == [("q", False, 0)] * 3
        assert len({one.tag for one in taken}) == 3
        await consumer.ack([one.tag for one in taken])
        await consumer.close()
        assert await queues.depth("q") == 0

    async def test_what_lies_ready_is_taken_without_waiting_within_limit_and_prefetch(self, queues: Queues) -> None:
        await queues.publish(parcels("q", *(str(n) for n in range(40))))
        consumer = await queues.consume([Source("q", prefetch=3)])
        found: list[Taken] = []
        async with asyncio.timeout(10):
            while len(found) < 40:
                now = [await consumer.take(), *consumer.take_more(1)]
                now += consumer.take_more(2)
                assert len(now) <= 3
                if len(now) == 3:
                    assert consumer.take_more(1) == []
                await consumer.ack([one.tag for one in now])
                found += now
        assert bodies(found) == [str(n) for n in range(40)]
        assert len({one.tag for one in found}) == 40
        await consumer.close()
        assert consumer.take_more(10) == []

    async def test_a_take_waits_for_the_next_body(self, queues: Queues) -> None:
        consumer = await queues.consume([Source("q")])
        taking = asyncio.create_task(consumer.take())
        assert await is_idle(taking)
        await queues.publish(parcels("q", "a"))
        assert (await asyncio.wait_for(taking, 5)).body == b"a"

    async def test_any_bytes_pass_unchanged(self, queues: Queues) -> None:
        body = bytes(range(256)) * 1024
        await queues.publish([Parcel("q", body), Parcel("q", b"")])
        consumer = await queues.consume([Source("q")])
        assert [one.body for one in await take(consumer, 2)] == [body, b""]

    async def test_a_consumer_gets_nothing_of_queues_that_it_did_not_name(self, queues: Queues) -> None:
        await queues.publish(parcels("other", "x"))
        consumer = await queues.consume([Source("q")])
        taking = asyncio.create_task(consumer.take())
        assert await is_idle(taking)
        await consumer.close()
        with pytest.raises(ConsumerClosed):
            await taking

    # ── settling ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_given_back_it_comes_again_first_and_says_so(self, queues: Queues) -> None:
        await queues.publish(parcels("q", "a", "b", "c"))
        consumer = await queues.consume([Source("q")])
        first, second = await take(consumer, 2)
        await consumer.give_back([second.tag, first.tag])
        again = await take(consumer, 3)
        assert bodies(again) == ["a", "b", "c"]
        assert [(one.redelivered, one.tries) for one in again] == [(True, 1), (True, 1), (False, 0)]

    async def test_each_time_it_comes_back_is_counted(self, queues: Queues) -> None:
        await queues.publish(parcels("q", "a"))
        consumer = await queues.consume([Source("q")])
        for tries in range(4):
            (taken,) = await take(consumer)
            assert taken.tries == tries
            await consumer.give_back([taken.tag])

    async def test_closing_a_consumer_puts_back_what_it_had_not_settled(self, queues: Queues) -> None:
        await queues.publish(parcels("q", "a", "b", "c", "d"))
        first = await queues.consume([Source("q")])
        taken = await take(first, 3)
        await first.ack([taken[1].tag])
        await first.close()
        second = await queues.consume([Source("q")])
        again = await take(second, 3)
        assert bodies(again) == ["a", "c", "d"]
        assert [one.redelivered for one in again] == [True, True, False]

    async def test_what_was_acked_never_comes_again(self, queues: Queues) -> None:
        await queues.publish(parcels("q", "a"))
        consumer = await queues.consume([Source("q")])
        (taken,) = await take(consumer)
        await consumer.ack([taken.tag])
        await consumer.ack([taken.tag])
        await consumer.give_back([taken.tag])
        await consumer.close()
        assert await queues.depth("q") == 0

    async def test_settling_after_the_close_changes_nothing(self, queues: Queues) -> None:
        await queues.publish(parcels("q", "a"))
        consumer = await queues.consume([Source("q")])
        (taken,) = await take(consumer)
        await consumer.close()
        await consumer.ack([taken.tag])
        await consumer.give_back([taken.tag])
        await consumer.close()
        assert await queues.depth("q") == 1

    # ── closing, cancelling ─────────────────────────────────────────────────────────────────────────────────────────

    async def test_every_take_of_a_closed_consumer_ends(self, queues: Queues) -> None:
        consumer = await queues.consume([Source("q")])
        taking = [asyncio.create_task(consumer.take()) for _ in range(3)]
        assert await is_idle(taking[0])
        await consumer.close()
        assert [type(e) for e in await asyncio.gather(*taking, return_exceptions=True)] == [ConsumerClosed] * 3
        with pytest.raises(ConsumerClosed):
            await consumer.take()

    async def test_a_cancelled_take_loses_no_body(self, queues: Queues) -> None:
        consumer = await queues.consume([Source("q")])
        taking = asyncio.create_task(consumer.take())
        assert await is_idle(taking)
        await queues.publish(parcels("q", "a"))
        taking.cancel()
        await asyncio.wait({taking})
        if taking.cancelled():
            assert bodies(await take(consumer)) == ["a"]
        else:
            assert taking.result().body == b"a"

    async def test_when_a_take_is_cancelled_another_that_waits_gets_the_body(self, queues: Queues) -> None:
        first, second = await queues.consume([Source("q")]), await queues.consume([Source("q")])
        taking = [asyncio.create_task(consumer.take()) for consumer in (first, first, second)]
        assert await is_idle(taking[0])
        taking[0].cancel()
        await queues.publish(parcels("q", "a", "b"))
        got = await asyncio.wait_for(asyncio.gather(*taking[1:]), 5)
        assert sorted(bodies(list(got))) == ["a", "b"]

    # ── several consumers, weights, prefetch ────────────────────────────────────────────────────────────────────────

    async def test_several_consumers_share_a_queue_and_nobody_gets_anothers_body(self, queues: Queues) -> None:
        await queues.publish(parcels("q", *(str(n) for n in range(30))))
        consumers = [await queues.consume([Source("q", prefetch=100)]) for _ in range(3)]
        taken = await asyncio.gather(*(take(consumer, 10) for consumer in consumers))
        assert sorted(int(body) for some in taken for body in bodies(some)) == list(range(30))

    async def test_a_closed_consumers_bodies_reach_another_that_waits(self, queues: Queues) -> None:
        await queues.publish(parcels("q", "a", "b"))
        first, second = await queues.consume([Source("q")]), await queues.consume([Source("q")])
        await take(first, 2)
        taking = [asyncio.create_task(second.take()) for _ in range(2)]
        assert await is_idle(taking[0])
        await first.close()
        assert bodies(list(await asyncio.wait_for(asyncio.gather(*taking), 5))) == ["a", "b"]

    async def test_over_time_each_source_gets_its_share_by_weight(self, queues: Queues) -> None:
        weights = {"urgent": 5, "normal": 2, "low": 1}
        for queue in weights:
            await queues.publish(parcels(queue, *(str(n) for n in range(LENGTH))))
        consumer = await queues.consume([Source(queue, weight, prefetch=100) for queue, weight in weights.items()])
        shares = Counter(one.queue for one in await take(consumer, 64))
        assert all(abs(shares[queue] - 8 * weight) <= 2 for queue, weight in weights.items()), shares

    async def test_the_share_of_an_empty_source_goes_to_the_others_and_it_saves_nothing_up(
        self, queues: Queues
    ) -> None:
        await queues.publish(parcels("low", *(str(n) for n in range(40))))
        consumer = await queues.consume([Source("urgent", 9, prefetch=100), Source("low", 1, prefetch=100)])
        assert {one.queue for one in await take(consumer, 20)} == {"low"}
        await queues.publish(parcels("urgent", *(str(n) for n in range(LENGTH))))
        shares = Counter(one.queue for one in await take(consumer, 40))
        assert 2 <= shares["low"] <= 6, shares

    async def test_prefetch_bounds_what_is_unsettled_of_a_source(self, queues: Queues) -> None:
        await queues.publish(parcels("q", "a", "b", "c", "d"))
        consumer = await queues.consume([Source("q", prefetch=2), Source("other", prefetch=1)])
        taken = await take(consumer, 2)
        taking = asyncio.create_task(consumer.take())
        assert await is_idle(taking)
        await queues.publish(parcels("other", "x"))
        assert (await asyncio.wait_for(taking, 5)).queue == "other"
        taking = asyncio.create_task(consumer.take())
        assert await is_idle(taking)
        await consumer.ack([taken[0].tag])
        assert (await asyncio.wait_for(taking, 5)).body == b"c"
        taking = asyncio.create_task(consumer.take())
        assert await is_idle(taking)
        await consumer.give_back([taken[1].tag])
        assert (await asyncio.wait_for(taking, 5)).body == b"b"

    async def test_a_slow_consumer_at_its_prefetch_leaves_the_rest_to_another(self, queues: Queues) -> None:
        await queues.publish(parcels("q", *(str(n) for n in range(6))))
        slow, quick = await queues.consume([Source("q", prefetch=1)]), await queues.consume([Source("q", prefetch=9)])
        await take(slow)
        assert len(await take(quick, 5)) == 5

    # ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_at_the_length_limit_new_bodies_are_refused_and_none_is_lost(self, queues: Queues) -> None:
        outcomes = await queues.publish(parcels("q", *(str(n) for n in range(LENGTH + 2))))
        assert outcomes == [Published.CONFIRMED] * LENGTH + [Published.FULL] * 2
        assert await queues.publish(parcels("other", "x")) == [Published.CONFIRMED]
        consumer = await queues.consume([Source("q", prefetch=100)])
        assert bodies(await take(consumer, LENGTH)) == [str(n) for n in range(LENGTH)]

    async def test_room_is_there_again_once_something_was_taken_and_acked(self, queues: Queues) -> None:
        await queues.publish(parcels("q", *(str(n) for n in range(LENGTH))))
        consumer = await queues.consume([Source("q")])
        (taken,) = await take(consumer)
        await consumer.ack([taken.tag])
        await consumer.close()
        assert await queues.publish(parcels("q", "new", "too many")) == [Published.CONFIRMED, Published.FULL]

    async def test_what_comes_back_into_a_full_queue_is_kept(self, queues: Queues) -> None:
        await queues.publish(parcels("q", *(str(n) for n in range(LENGTH))))
        consumer = await queues.consume([Source("q")])
        await take(consumer, 3)
        await queues.publish(parcels("q", "x", "y", "z"))
        await consumer.close()
        consumer = await queues.consume([Source("q", prefetch=100)])
        assert bodies(await take(consumer, LENGTH))[:4] == ["0", "1", "2", "3"]

    async def test_parked_bodies_are_put_aside_and_bounded(self, queues: Queues) -> None:
        for n in range(PARKED + 2):
            await queues.park("q", f"poison {n}".encode(), "not readable")
        assert await queues.depth("q.parked") == PARKED
        assert await queues.depth("q") == 0

    async def test_what_was_parked_is_shown_oldest_first_with_its_story(self, queues: Queues) -> None:
        await queues.park("q", b"poison 1", "not readable", tries=3)
        await queues.park("q", b"poison 2", "too odd: é")
        first, second = await queues.parked("q")
        assert (first.body, first.reason, first.tries) == (b"poison 1", "not readable", 3)
        assert (second.body, second.reason, second.tries) == (b"poison 2", "too odd: é", 0)
        assert 0 < first.at <= second.at
        assert first.id != second.id
        assert [one.id for one in await queues.parked("q", limit=1)] == [first.id]
        assert await queues.parked("q") == [first, second], "to look changes nothing"
        assert await queues.parked("other") == []

    async def test_a_parked_body_is_taken_again_as_if_new_once_it_is_retried(self, queues: Queues) -> None:
        for n in range(3):
            await queues.park("q", f"poison {n}".encode(), "not readable", tries=2)
        parked = await queues.parked("q")
        assert await queues.retry_parked("q", [parked[1].id, "unknown"]) == 1
        consumer = await queues.consume([Source("q")])
        (taken,) = await take(consumer)
        assert (taken.body, taken.redelivered, taken.tries) == (b"poison 1", False, 0)
        await consumer.ack([taken.tag])
        assert await queues.retry_parked("q") == 2
        assert bodies(await take(consumer, 2)) == ["poison 0", "poison 2"]
        assert await queues.parked("q") == []
        assert await queues.retry_parked("q") == 0

    async def test_a_parked_body_that_its_queue_refuses_stays_parked(self, queues: Queues) -> None:
        await queues.park("q", b"poison", "not readable")
        await queues.publish(parcels("q", *(str(n) for n in range(LENGTH))))
        assert await queues.retry_parked("q") == 0
        assert [one.body for one in await queues.parked("q")] == [b"poison"]

    async def test_parked_bodies_are_dropped_by_id_or_all_at_once(self, queues: Queues) -> None:
        for n in range(4):
            await queues.park("q", f"poison {n}".encode(), "not readable")
        parked = await queues.parked("q")
        assert await queues.drop_parked("q", [parked[2].id]) == 1
        assert [one.body for one in await queues.parked("q")] == [b"poison 0", b"poison 1", b"poison 3"]
        assert await queues.drop_parked("q") == 3
        assert await queues.depth("q.parked") == 0
        assert await queues.drop_parked("q") == 0

    # ── what an operator and the relay ask ──────────────────────────────────────────────────────────────────────────

    async def test_depth_counts_what_waits_and_not_what_was_taken(self, queues: Queues) -> None:
        assert await queues.depth("q") == 0
        await queues.publish(parcels("q", "a", "b"))
        assert await queues.depth("q") == 2
        consumer = await queues.consume([Source("q", prefetch=1)])
        await take(consumer)
        assert await queues.depth("q") == 1

    async def test_the_oldest_age_is_that_of_the_body_that_waited_longest(
        self, queues: Queues, pass_time: PassTime
    ) -> None:
        assert await queues.oldest_age_s("q") == 0
        await queues.publish(parcels("q", "a"))
        await pass_time(5)
        await queues.publish(parcels("q", "b"))
        await pass_time(2)
        assert await queues.oldest_age_s("q") == pytest.approx(7, abs=1)
        consumer = await queues.consume([Source("q", prefetch=1)])
        (taken,) = await take(consumer)
        assert taken.age_s == pytest.approx(7, abs=1)
        assert await queues.oldest_age_s("q") == pytest.approx(2, abs=1)

    async def test_the_incarnation_is_one_brokers_own(self, queues: Queues) -> None:
        assert queues.incarnation()
        assert queues.incarnation() == queues.incarnation()

    async def test_closed_queues_confirm_nothing(self, queues: Queues) -> None:
        await queues.ping()
        consumer = await queues.consume([Source("q")])
        await queues.close()
        with pytest.raises(ConsumerClosed):
            await consumer.take()
        assert await queues.publish(parcels("q", "a")) == [Published.UNCONFIRMED]
        with pytest.raises(Unavailable):
            await queues.ping()
        with pytest.raises(Unavailable):
            await queues.consume([Source("q")])


class TestMemoryQueues(QueuesContract):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def queues(self, clock: HandClock) -> MemoryQueues:
        return MemoryQueues(length=LENGTH, parked=PARKED, monotonic=clock.monotonic)

    @pytest.fixture
    def pass_time(self, clock: HandClock) -> PassTime:
        return clock.pass_time


class TestAmqpQueues(QueuesContract):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    async def queues(self, rabbit_server: Server, clock: HandClock) -> AsyncIterator[Queues]:
        settings = settings_of(rabbit_server.dsn, length=LENGTH, parked=PARKED)
        async with amqp_queues(settings, wall_ms=clock.wall_ms) as queues:
            yield queues

    @pytest.fixture
    def pass_time(self, clock: HandClock) -> PassTime:
        return clock.pass_time
