"""One message store of several that is away keeps back what belongs to it, and nothing else."""

from collections.abc import Sequence
from typing import Any

import pytest

from dispatcher.envelopes import BELIEVED_S, EnvelopeWork
from push_core.envelope import Envelope
from push_core.errors import Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from tests.support.envelopes import sample
from tests.support.hand_clock import HandClock


class Store:
    def __init__(self) -> None:
        self.away = False
        self.asked = 0

    async def ping(self) -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("the store is away")


class Several:
    """The messages of as many stores: the number is what the id leaves over."""

    def __init__(self, count: int) -> None:
        self.made = [Store() for _ in range(count)]

    def stores(self) -> list[Store]:
        return self.made

    def store_of(self, message_id: int) -> int:
        return message_id % len(self.made)


class Handling:
    """Fails for a batch in which a message is of a store that is away, and for all while presence is."""

    def __init__(self, messages: Several) -> None:
        self.messages = messages
        self.presence_away = False
        self.handled: list[tuple[int, bool]] = []

    async def handle(self, items: Sequence[Envelope], *, redelivered: bool) -> None:
        if self.presence_away or any(self.messages.made[self.messages.store_of(item.id)].away for item in items):
            raise Unavailable("not now")
        self.handled += [(item.id, redelivered) for item in items]


class Setup:
    def __init__(self, stores: int) -> None:
        self.messages = Several(stores)
        self.handling = Handling(self.messages)
        self.metrics = MemoryMetrics()
        self.time = HandClock()
        given: Any = (self.handling, self.messages, None, self.metrics, self.time.clock())
        self.work = EnvelopeWork(*given)

    async def handle(self, *ids: int) -> None:
        await self.work.handle(
            [sample(message_id, "d", app="courier", sent=0) for message_id in ids], redelivered=False
        )

    @property
    def left(self) -> int:
        return self.metrics.counted(Metric.DI_LEFT_TO_RELAY)


async def test_what_belongs_to_a_store_that_is_away_is_left_to_the_relay_and_the_rest_is_done() -> None:
    setup = Setup(2)
    setup.messages.made[1].away = True
    await setup.handle(2, 3, 4, 5)
    assert setup.handling.handled == [(2, True), (4, True)]
    assert setup.left == 2


async def test_a_batch_of_nothing_else_goes_out_of_the_way_too() -> None:
    setup = Setup(2)
    setup.messages.made[1].away = True
    await setup.handle(3)
    assert (setup.handling.handled, setup.left) == ([], 1)


async def test_a_store_that_is_away_is_not_asked_for_each_batch_and_is_asked_again() -> None:
    setup = Setup(2)
    store = setup.messages.made[1]
    store.away = True
    for _ in range(3):
        await setup.handle(3)
    assert (store.asked, setup.left) == (1, 3)
    setup.time.advance(BELIEVED_S)
    store.away = False
    await setup.handle(3)
    assert setup.handling.handled == [(3, False)]


async def test_the_only_store_is_waited_for() -> None:
    setup = Setup(1)
    setup.messages.made[0].away = True
    with pytest.raises(Unavailable):
        await setup.handle(2, 3)
    assert setup.left == 0


@pytest.mark.parametrize("ids", [(2, 3), (3,)])
async def test_when_all_stores_are_away_they_are_waited_for(ids: tuple[int, ...]) -> None:
    setup = Setup(2)
    for store in setup.messages.made:
        store.away = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            await setup.handle(*ids)
    assert setup.left == 0


async def test_what_fails_for_another_reason_is_waited_for() -> None:
    setup = Setup(2)
    setup.handling.presence_away = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            await setup.handle(2, 3)
    assert setup.left == 0
