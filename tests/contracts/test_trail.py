"""What every trail promises."""

import pytest

from push_core.trail.memory import MemoryTrail
from push_core.trail.port import Event, Trail


def event(at: int, step: str = "accepted", *, message_id: int = 7, app: str = "courier", device: str = "d-1") -> Event:
    return Event(at=at, id=message_id, app=app, device=device, step=step)


class TrailContract:
    """Subclasses give the fixture `trail` (empty) and, for one that indexes later, `settled`."""

    async def settled(self, trail: Trail) -> None:
        """Wait until what was written can be read."""

    async def test_a_message_tells_its_story_in_order_of_time(self, trail: Trail) -> None:
        trail.write([event(3, "delivered"), event(1, "accepted")])
        trail.write([event(2, "sending")])
        await self.settled(trail)
        assert [e.step for e in await trail.of_message("courier", 7)] == ["accepted", "sending", "delivered"]

    async def test_every_field_comes_back(self, trail: Trail) -> None:
        full = Event(
            at=1, id=7, app="courier", device="d-1", step="waiting", reason="offline", channel="fcm", node="gw-1",
            traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )  # fmt: skip
        trail.write([full])
        await self.settled(trail)
        assert await trail.of_message("courier", 7) == [full]

    async def test_another_message_and_another_apps_message_of_the_same_id_are_not_shown(self, trail: Trail) -> None:
        trail.write([event(1), event(2, message_id=8), event(3, app="shop")])
        await self.settled(trail)
        assert await trail.of_message("courier", 7) == [event(1)]
        assert await trail.of_message("shop", 7) == [event(3, app="shop")]
        assert await trail.of_message("courier", 9) == []

    async def test_the_limit_gives_the_beginning_of_the_story(self, trail: Trail) -> None:
        trail.write([event(at, device=f"d-{at}") for at in range(10)])
        await self.settled(trail)
        assert [e.at for e in await trail.of_message("courier", 7, limit=3)] == [0, 1, 2]

    async def test_writing_never_raises_not_even_after_the_end(self, trail: Trail) -> None:
        trail.write([])
        await trail.close()
        trail.write([event(1)])


class TestMemoryTrail(TrailContract):
    @pytest.fixture
    def trail(self) -> MemoryTrail:
        return MemoryTrail()
