import asyncio
from collections.abc import Sequence
from itertools import chain

import msgspec
import pytest

from push_api.publisher import Publisher
from push_core.clock import Clock
from push_core.envelope import MAX_BATCH, MAX_BATCH_BYTES, Envelope, decode_batch
from push_core.messages.port import Task
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.models import Priority
from push_core.queues.port import Published
from tests.push_api.fakes import FakeMessages, FakeQueues, away
from tests.support.envelopes import sample
from tests.support.until import until


def envelope(number: int, *, priority: Priority = Priority.NORMAL, queue: str = "shared", size: int = 100) -> Envelope:
    return sample(number, "phone-1", app="demo", sent=0, push=b"x" * size, priority=priority, queue_class=queue)


class Setup:
    def __init__(self, *, bound: int = 10_000, parallel: int = 4, timeout_s: float = 5.0, every_s: float = 0.0) -> None:
        self.queues = FakeQueues()
        self.messages = FakeMessages()
        self.metrics = MemoryMetrics()
        self.publisher = Publisher(
            self.queues,  # type: ignore[arg-type]
            self.messages,  # type: ignore[arg-type]
            self.metrics,
            Clock(),
            bound=bound,
            parallel=parallel,
            timeout_s=timeout_s,
            every_s=every_s,
        )

    def ids(self, queue: str = "") -> list[list[int]]:
        return [
            [item.id for item in decode_batch(parcel.body)]
            for parcel in self.queues.published
            if parcel.queue.startswith(queue)
        ]


async def published(setup: Setup, envelopes: Sequence[Envelope]) -> None:
    setup.publisher.give(envelopes)
    assert await setup.publisher.close(5.0)


async def test_what_was_given_together_is_one_parcel_a_queue() -> None:
    setup = Setup()
    await published(
        setup,
        [
            envelope(1),
            envelope(2, priority=Priority.URGENT),
            envelope(3),
            envelope(4, queue="courier"),
        ],
    )
    assert len(setup.queues.calls) == 1
    assert setup.ids("push.shared.normal") == [[1, 3]]
    assert setup.ids("push.shared.urgent") == [[2]]
    assert setup.ids("push.courier.normal") == [[4]]


async def test_a_parcel_has_at_most_256_envelopes() -> None:
    setup = Setup()
    await published(setup, [envelope(n) for n in range(600)])
    assert [len(part) for part in setup.ids()] == [256, 256, 88]
    assert list(chain(*setup.ids())) == list(range(600))


async def test_a_parcel_has_at_most_256_kib() -> None:
    setup = Setup()
    await published(setup, [envelope(n, size=5_000) for n in range(200)])
    assert all(len(parcel.body) <= MAX_BATCH_BYTES + 3 for parcel in setup.queues.published)
    assert all(len(part) <= MAX_BATCH for part in setup.ids())
    assert sorted(chain(*setup.ids())) == list(range(200))


async def test_an_envelope_above_that_goes_alone() -> None:
    setup = Setup()
    await published(setup, [envelope(1), envelope(2, size=MAX_BATCH_BYTES), envelope(3)])
    assert sorted(setup.ids()) == [[1], [2], [3]]


@pytest.mark.parametrize(
    "answer", [[Published.FULL], [Published.UNCONFIRMED], away("the queue")], ids=["full", "unconfirmed", "away"]
)
async def test_what_the_queue_does_not_confirm_is_left_to_the_relay(answer: Exception | list[Published]) -> None:
    setup = Setup()
    setup.queues.answers.append(answer)
    to_alias = msgspec.structs.replace(envelope(3), devices=[], alias="u-1")
    to_two = msgspec.structs.replace(envelope(2), devices=["phone-1", "phone-2"])
    await published(setup, [envelope(1), to_two, to_alias])
    assert [(row.id, row.app, row.device, row.task) for row in setup.messages.later] == [
        (1, "demo", "phone-1", Task.REPUBLISH),
        (2, "demo", "", Task.REPUBLISH),
        (3, "demo", "", Task.REPUBLISH),
    ]
    assert setup.metrics.counted(Metric.API_PUBLISH_UNCONFIRMED) == 1


async def test_only_the_parcels_that_failed_are_left_to_the_relay() -> None:
    setup = Setup()
    setup.queues.answers.append([Published.CONFIRMED, Published.FULL])
    await published(setup, [envelope(1, priority=Priority.URGENT), envelope(2)])
    assert [row.id for row in setup.messages.later] == [2]


async def test_a_queue_that_hangs_counts_as_unconfirmed() -> None:
    setup = Setup(timeout_s=0.01)
    setup.queues.answers.append(asyncio.Event())
    await published(setup, [envelope(1)])
    assert [row.id for row in setup.messages.later] == [1]


async def test_when_the_store_is_away_too_nothing_breaks() -> None:
    setup = Setup()
    setup.queues.answers.append(away("the queue"))
    setup.messages.later_error = away()
    await published(setup, [envelope(1)])
    await published(setup, [envelope(2)])
    assert setup.ids() == [[2]]
    assert setup.publisher.room == 10_000


async def test_a_fault_in_an_adapter_stops_nothing_else() -> None:
    setup = Setup()
    setup.queues.answers.append(ValueError("a bug"))
    await published(setup, [envelope(1)])
    await published(setup, [envelope(2)])
    assert setup.ids() == [[2]]
    assert setup.metrics.counted(Metric.TASK_ERRORS) == 1
    assert setup.publisher.room == 10_000


async def test_while_calls_are_under_way_the_rest_gathers_and_urgent_goes_first() -> None:
    setup = Setup(parallel=1)
    gate = asyncio.Event()
    setup.queues.answers.append(gate)
    setup.publisher.give([envelope(0)])
    await asyncio.sleep(0)
    for number in range(1, 10):
        priority = Priority.URGENT if number % 2 else Priority.LOW
        setup.publisher.give([envelope(number, priority=priority)])
        await asyncio.sleep(0)
    assert len(setup.queues.calls) == 1
    gate.set()
    assert await setup.publisher.close(5.0)
    assert [parcel.queue for parcel in setup.queues.calls[1]] == ["push.shared.urgent", "push.shared.low"]
    assert setup.ids("push.shared.urgent") == [[1, 3, 5, 7, 9]]


async def test_room_counts_what_waits_and_what_is_under_way() -> None:
    setup = Setup(bound=10)
    gate = asyncio.Event()
    setup.queues.answers.append(gate)
    setup.publisher.give([envelope(1), envelope(2)])
    assert setup.publisher.room == 8
    await asyncio.sleep(0)
    assert setup.publisher.room == 8
    gate.set()
    assert await setup.publisher.close(5.0)
    assert setup.publisher.room == 10


async def test_closing_gives_up_after_its_grace() -> None:
    setup = Setup()
    setup.queues.answers.append(asyncio.Event())
    setup.publisher.give([envelope(1)])
    assert not await setup.publisher.close(0.01)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_comes_alone_goes_at_once_and_what_comes_right_after_it_goes_together() -> None:
    setup = Setup(every_s=0.2)
    setup.publisher.give([envelope(1)])
    await turns()
    assert setup.ids() == [[1]]
    for number in (2, 3, 4):
        setup.publisher.give([envelope(number)])
        await turns()
    assert setup.ids() == [[1]]
    await until(lambda: len(setup.ids()) == 2)
    assert setup.ids() == [[1], [2, 3, 4]]
    assert await setup.publisher.close(5.0)


async def test_a_full_batch_waits_for_nothing() -> None:
    setup = Setup(every_s=60.0)
    setup.publisher.give([envelope(0)])
    await turns()
    setup.publisher.give([envelope(number) for number in range(1, MAX_BATCH + 2)])
    await turns()
    assert [len(part) for part in setup.ids()] == [1, MAX_BATCH, 1]


async def test_the_end_waits_for_no_company() -> None:
    setup = Setup(every_s=60.0)
    setup.publisher.give([envelope(1)])
    await turns()
    setup.publisher.give([envelope(2)])
    assert await setup.publisher.close(5.0)
    assert setup.ids() == [[1], [2]]
