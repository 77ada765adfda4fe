"""Housekeeping: what waited too long, routes of dead nodes, messages past retention."""

from dispatcher.settings import DispatcherSettings
from push_core.lifecycle import State
from push_core.metrics.catalogue import Metric
from tests.dispatcher.world import APP, World


async def test_what_waits_past_its_time_ends_and_is_told(world: World) -> None:
    envelope = await world.push("d-1", expires=world.now + 1_000)
    world.time.advance(1.0)
    assert not await world.parts.sweep.expire()
    assert await world.state(envelope, "d-1") is State.EXPIRED
    assert [event.step for event in await world.trail.of_message(APP, envelope.id)] == ["waiting", "expired"]
    assert world.metrics.counted(Metric.DI_STATES, state="expired", reason="ttl") == 1


async def test_a_full_batch_says_that_more_is_left() -> None:
    world = await World.open(DispatcherSettings(sweep_batch=2))
    await world.push("d-1", "d-2", "d-3", expires=world.now + 1_000)
    world.time.advance(1.0)
    assert await world.parts.sweep.expire()
    assert not await world.parts.sweep.expire()
    await world.close()


async def test_routes_of_dead_nodes_are_removed(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    await node.die()
    assert not await world.parts.sweep.routes()
    assert len(world.ports.presence) == 0  # type: ignore[arg-type]


async def test_ended_messages_go_after_their_retention(world: World) -> None:
    envelope = await world.push("d-1", expires=world.now + 1_000)
    world.time.advance(1.0)
    await world.parts.sweep.expire()
    assert not await world.parts.sweep.prune()
    assert await world.messages.get([(APP, envelope.id)]) != [None]
    world.time.advance(world.settings.retention_s + 1)
    await world.parts.sweep.prune()
    assert await world.messages.get([(APP, envelope.id)]) == [None]
