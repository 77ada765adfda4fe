"""A remembered route may be old: that costs a look, never a delivery, and no vendor is asked for a device that is here."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from dispatcher.settings import DispatcherSettings
from push_core.errors import ConfigError, Unavailable
from push_core.lifecycle import State
from push_core.metrics.catalogue import Metric
from push_core.models import DeviceKey
from push_core.presence.port import Located, Presence
from push_core.settings import load
from tests.dispatcher.fake_node import FakeNode
from tests.dispatcher.world import APP, World


class Watched:
    """Presence that counts what it is asked, and can be away."""

    def __init__(self, inner: Presence) -> None:
        self._inner = inner
        self.located: list[list[DeviceKey]] = []
        self.away = False

    async def locate(self, keys: Sequence[DeviceKey]) -> list[Located | None]:
        self.located.append(list(keys))
        if self.away:
            raise Unavailable("presence is down")
        return await self._inner.locate(keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World.open(DispatcherSettings(route_cache_s=1.0, route_stale_s=10.0))
    world.ports.presence = Watched(world.ports.presence)
    world.restart()
    yield world
    await world.close()


@pytest.fixture
def presence(world: World) -> Watched:
    assert isinstance(world.ports.presence, Watched)
    return world.ports.presence


async def moves(old: FakeNode, new: FakeNode) -> None:
    """The device connects to another gateway, and the one before hears of it."""
    old.sessions.clear()
    await new.connect("d-1")


async def test_where_a_device_is_is_asked_once_a_moment(world: World, presence: Watched) -> None:
    node = await world.node()
    await node.connect("d-1")
    for _ in range(3):
        await world.push("d-1")
    assert presence.located == [[(APP, "d-1")]]
    assert len(node.written) == 3
    world.time.advance(1.0)
    await world.push("d-1")
    assert len(presence.located) == 2


async def test_by_default_it_is_asked_each_time() -> None:
    world = await World.open()
    watched = Watched(world.ports.presence)
    world.ports.presence = watched
    world.restart()
    node = await world.node()
    await node.connect("d-1")
    for _ in range(3):
        await world.push("d-1")
    assert len(watched.located) == 3
    await world.close()


async def test_a_device_that_moved_gets_its_push_where_it_is_now(world: World) -> None:
    old, new = await world.node("gw-1"), await world.node("gw-2")
    await old.connect("d-1")
    await world.push("d-1")
    await moves(old, new)
    envelope = await world.push("d-1")
    assert [written[0] for written in new.written] == [envelope.id]
    assert await world.inbox("d-1") == []
    assert await world.state(envelope, "d-1") is State.ACCEPTED
    later = await world.push("d-1")
    assert [written[0] for written in new.written] == [envelope.id, later.id]


async def test_a_device_that_moved_is_no_reason_to_ask_a_vendor(world: World) -> None:
    old, new = await world.node("gw-1"), await world.node("gw-2")
    await world.register("d-1", vendor_tokens={"stub": "t"})
    await old.connect("d-1")
    await world.push("d-1")
    await moves(old, new)
    await world.push("d-1")
    await world.handle_vendors()
    assert not world.stub.accepted
    assert len(new.written) == 1


async def test_a_device_that_left_waits_in_its_inbox(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    await world.push("d-1")
    left = node.route("d-1")
    node.sessions.clear()
    await world.ports.presence.sign_out([left])
    envelope = await world.push("d-1")
    assert [row.id for row in await world.inbox("d-1")] == [envelope.id]
    assert await world.state(envelope, "d-1") is State.WAITING


async def test_that_a_device_is_nowhere_is_never_remembered(world: World) -> None:
    waiting = await world.push("d-1")
    node = await world.node()
    await node.connect("d-1")
    envelope = await world.push("d-1")
    assert [written[0] for written in node.written] == [envelope.id]
    assert waiting.id != envelope.id


async def test_a_node_that_died_is_not_gone_by_after_it_was_found_gone(world: World) -> None:
    old, new = await world.node("gw-1"), await world.node("gw-2")
    await old.connect("d-1")
    await world.push("d-1")
    await old.die()
    await new.connect("d-1")
    envelope = await world.push("d-1")
    assert [written[0] for written in new.written] == [envelope.id]


async def test_while_presence_is_away_known_routes_are_tried_for_a_while(world: World, presence: Watched) -> None:
    node = await world.node()
    await node.connect("d-1")
    await world.push("d-1")
    presence.away = True
    world.time.advance(5.0)
    envelope = await world.push("d-1")
    assert [written[0] for written in node.written][-1] == envelope.id
    assert world.metrics.counted(Metric.CACHE_STALE, cache="dispatcher.routes") == 1
    world.time.advance(7.0)
    with pytest.raises(Unavailable):
        await world.push("d-1")
    presence.away = False
    await world.handle()
    assert len(node.written) == 3


async def test_settings_that_would_remember_for_long_are_refused() -> None:
    with pytest.raises(ConfigError, match="route_cache_s"):
        load(DispatcherSettings, "dispatcher", overrides={"route_cache_s": 60.0})
