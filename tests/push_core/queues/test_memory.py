"""What belongs to the queues in this process alone: byte limits, parked bodies, incarnations, and the round robin seen closely."""

import pytest

from push_core.queues.memory import MemoryQueues
from push_core.queues.port import Parcel, Published, Source


async def test_a_queue_is_bounded_in_bytes_too() -> None:
    queues = MemoryQueues(queue_bytes=10)
    parcels = [Parcel("q", b"12345678"), Parcel("q", b"123"), Parcel("q", b"12"), Parcel("other", b"123")]
    confirmed, full = Published.CONFIRMED, Published.FULL
    assert await queues.publish(parcels) == [confirmed, full, confirmed, confirmed]
    consumer = await queues.consume([Source("q")])
    taken = [await consumer.take(), await consumer.take()]
    assert await queues.publish([Parcel("q", b"1234567890")]) == [confirmed]
    await consumer.ack([one.tag for one in taken])
    await queues.close()


async def test_the_newest_parked_bodies_are_kept_with_their_reasons_and_the_loss_is_counted() -> None:
    queues = MemoryQueues(parked=2)
    for n in range(3):
        await queues.park("q", b"%d" % n, "not readable")
    assert [(parked.body, parked.reason) for parked in await queues.parked("q")] == [
        (b"1", "not readable"),
        (b"2", "not readable"),
    ]
    assert await queues.parked("other") == []
    assert queues.parked_dropped == 1


def test_each_life_of_the_queues_has_an_incarnation_of_its_own() -> None:
    assert MemoryQueues().incarnation() != MemoryQueues().incarnation()


async def test_takes_are_spread_evenly_and_not_in_bursts() -> None:
    queues = MemoryQueues()
    for queue in "abc":
        await queues.publish([Parcel(queue, b"")] * 7)
    consumer = await queues.consume([Source("a", 5, 99), Source("b", 1, 99), Source("c", 1, 99)])
    # The sequence that nginx' documentation of smooth weighted round robin gives for weights 5, 1, 1.
    assert "".join([(await consumer.take()).queue for _ in range(7)]) == "aabacaa"
    await queues.close()


@pytest.mark.parametrize(
    "sources", [[Source("q"), Source("q")], [Source("q", 0)], [Source("q", 1, 0)]], ids=["twice", "weight", "prefetch"]
)
async def test_sources_that_make_no_sense_are_refused(sources: list[Source]) -> None:
    with pytest.raises(ValueError, match="q"):
        await MemoryQueues().consume(sources)
