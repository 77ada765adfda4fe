from typing import Any

import pytest

from push_api.tracking import Tracking
from push_core.clock import Clock
from push_core.envelope import Envelope, Work
from push_core.errors import Overloaded, UserError
from push_core.lifecycle import State
from push_core.messages.port import DeliveryView, MessageView, Recalled
from push_core.models import App, Priority

APP = App(name="demo", queue_class="courier")
VIEW = MessageView(
    id=7,
    state=State.DELIVERED,
    reason="",
    counts={"delivered": 1},
    recalled_at=5,
    deliveries=[DeliveryView(device="d", channel="long", state=State.DELIVERED, at={"delivered": 3})],
)


class Store:
    def __init__(self, notify: list[str]) -> None:
        self.notify = notify
        self.recalls = 0

    async def get(self, asks: Any, *, after: str | None, limit: int) -> list[MessageView | None]:
        return [VIEW if ask == ("demo", 7) else None for ask in asks]

    async def recall(self, asks: Any, *, now: int) -> list[Recalled | None]:
        self.recalls += 1
        return [Recalled(7, self.notify, []) if ask == ("demo", 7) else None for ask in asks]


class Given:
    def __init__(self, room: int = 1_000) -> None:
        self.room = room
        self.envelopes: list[Envelope] = []

    def give(self, envelopes: list[Envelope]) -> None:
        self.envelopes.extend(envelopes)


def tracking(store: Store, publisher: Given) -> Tracking:
    return Tracking(store, publisher, Clock(), timeout_s=5.0)  # type: ignore[arg-type]


async def test_a_status_says_nothing_where_there_is_nothing() -> None:
    status = await tracking(Store([]), Given()).get(APP, "7", after=None, limit=100)
    assert (status.id, status.state, status.reason, status.recalled_at) == ("7", State.DELIVERED, None, 5)
    assert (status.deliveries[0].channel, status.deliveries[0].reason) == ("long", None)


async def test_a_recall_is_published_urgently_in_parts_of_1000_devices() -> None:
    given = Given()
    devices = [f"d{n}" for n in range(2_500)]
    await tracking(Store(devices), given).recall(APP, "7", "trace", limit=100)
    assert [len(envelope.devices) for envelope in given.envelopes] == [1_000, 1_000, 500]
    assert [device for envelope in given.envelopes for device in envelope.devices] == devices
    for envelope in given.envelopes:
        assert (envelope.work, envelope.priority, envelope.queue_class) == (Work.RECALL, Priority.URGENT, "courier")
        assert (envelope.id, envelope.app, envelope.push, envelope.traceparent) == (7, "demo", b"", "trace")


async def test_nobody_to_be_told_is_told_nothing() -> None:
    given = Given()
    await tracking(Store([]), given).recall(APP, "7", "", limit=100)
    assert given.envelopes == []


async def test_an_unknown_message_is_not_recalled() -> None:
    given = Given()
    for message_id in ("8", "x"):
        with pytest.raises(UserError):
            await tracking(Store(["d"]), given).recall(APP, message_id, "", limit=100)
    assert given.envelopes == []


async def test_with_no_room_for_telling_nothing_is_recalled() -> None:
    store = Store(["d"])
    with pytest.raises(Overloaded):
        await tracking(store, Given(room=0)).recall(APP, "7", "", limit=100)
    assert store.recalls == 0
