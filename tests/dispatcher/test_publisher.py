"""Batches within their bounds, readable by whoever takes them."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.publisher import chunks, join, publish_envelopes
from push_core.envelope import MAX_BATCH, MAX_BATCH_BYTES, decode_batch, encode, split_batch
from push_core.models import Priority
from push_core.queues.memory import MemoryQueues
from push_core.queues.port import Published
from tests.dispatcher.test_settle import delivery
from tests.dispatcher.world import World

ENVELOPE = delivery().envelope


@given(st.lists(st.integers(1, MAX_BATCH_BYTES), max_size=30))
def test_chunks_keep_order_and_bounds(sizes: list[int]) -> None:
    items = [(index, b"x" * size) for index, size in enumerate(sizes)]
    parts = list(chunks(items))
    assert [item for part in parts for item in part] == items
    for part in parts:
        assert len(part) == 1 or sum(len(body) for _, body in part) <= MAX_BATCH_BYTES


def test_a_chunk_has_so_many_items() -> None:
    assert [len(part) for part in chunks([(0, b"x")] * (MAX_BATCH + 1))] == [MAX_BATCH, 1]


def test_joined_envelopes_are_a_batch() -> None:
    body = join([encode(ENVELOPE)] * 3)
    assert decode_batch(body) == [ENVELOPE] * 3
    assert split_batch(body) == [encode(ENVELOPE)] * 3
    assert decode_batch(join([])) == []


async def test_each_envelope_goes_to_its_queue_and_hears_whether_it_got_there(world: World) -> None:
    queues = MemoryQueues(length=1)
    envelopes = [
        world.envelope("d", priority=Priority.LOW),
        world.envelope("d", priority=Priority.URGENT, queue_class="big"),
        world.envelope("d", priority=Priority.LOW),
    ]
    assert await publish_envelopes(queues, envelopes) == [Published.CONFIRMED] * 3
    assert (await queues.depth("push.shared.low"), await queues.depth("push.big.urgent")) == (1, 1)
    assert await publish_envelopes(queues, envelopes[:1]) == [Published.FULL]
    assert await publish_envelopes(queues, []) == []
