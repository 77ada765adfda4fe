"""How gateways find a dispatcher that takes receipts."""

import asyncio
from collections.abc import Sequence

import pytest

from dispatcher.app import Dispatcher
from dispatcher.receipts_lease import ReceiptsLease
from dispatcher.settings import DispatcherSettings
from push_core.errors import Unavailable
from push_core.presence.memory import MemoryPresence
from push_core.presence.port import RECEIPTS, Node
from tests.dispatcher.world import World
from tests.support.hand_clock import HandClock


class Flaky(MemoryPresence):
    """Presence that can be away, or silent."""

    def __init__(self, time: HandClock) -> None:
        super().__init__(monotonic=time.monotonic)
        self.away = False
        self.silent = False

    async def lease_node(self, node: Node, ttl_s: float) -> bool:
        await self._trouble()
        return await super().lease_node(node, ttl_s)

    async def release_node(self, incarnation: str) -> None:
        await self._trouble()
        await super().release_node(incarnation)

    async def _trouble(self) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            raise Unavailable("away")


def lease_on(presence: MemoryPresence, timeout_s: float = 5.0) -> ReceiptsLease:
    return ReceiptsLease(
        presence,
        name="dispatcher-7",
        address="127.0.0.1:7",
        zone="west",
        ttl_s=15.0,
        renew_s=0.01,
        timeout_s=timeout_s,
    )


async def receipts_of(presence: MemoryPresence) -> Sequence[tuple[str, str, str]]:
    return [(node.name, node.address, node.zone) for node in await presence.nodes() if node.role == RECEIPTS]


async def test_it_is_there_while_it_is_renewed_and_gone_when_it_is_released() -> None:
    time = HandClock()
    presence = Flaky(time)
    lease = lease_on(presence)
    await lease.renew()
    for _ in range(4):
        time.advance(10.0)
        await lease.keep()
        assert await receipts_of(presence) == [("dispatcher-7", "127.0.0.1:7", "west")]
    await lease.release(1.0)
    assert await receipts_of(presence) == []
    assert not lease.held


@pytest.mark.parametrize("trouble", ["away", "silent"])
async def test_presence_that_is_away_is_no_trouble_and_the_record_is_back_with_it(trouble: str) -> None:
    presence = Flaky(HandClock())
    lease = lease_on(presence, timeout_s=0.01)
    setattr(presence, trouble, True)
    await lease.renew()
    held = [lease.held]
    await lease.release(0.01)
    setattr(presence, trouble, False)
    await lease.keep()
    held.append(lease.held)
    assert held == [False, True]
    assert len(await receipts_of(presence)) == 1


async def test_a_dispatcher_leases_its_receipts_service_for_as_long_as_it_runs(world: World) -> None:
    settings = DispatcherSettings(roles=("receipts",), name="d-1", zone="east")
    dispatcher = Dispatcher(settings, world.ports, world.time.clock())
    await dispatcher.start()
    nodes = [node for node in await world.ports.presence.nodes() if node.role == RECEIPTS]
    assert [(node.name, node.zone, node.address) for node in nodes] == [("d-1", "east", dispatcher.address)]
    assert await dispatcher.missing() == []
    await dispatcher.stop(1.0)
    assert [node for node in await world.ports.presence.nodes() if node.role == RECEIPTS] == []
    assert await dispatcher.missing() == ["starting or stopping"]


async def test_without_that_role_nothing_is_leased(world: World) -> None:
    dispatcher = Dispatcher(DispatcherSettings(roles=("relay",)), world.ports, world.time.clock())
    await dispatcher.start()
    assert [node for node in await world.ports.presence.nodes() if node.role == RECEIPTS] == []
    await dispatcher.stop(1.0)


@pytest.mark.parametrize(
    ("roles", "asked"),
    [
        (("receipts",), {"messages"}),
        (("vendor", "relay"), {"messages", "queues"}),
        (("long", "receipts"), {"messages", "queues", "presence"}),
    ],
)
async def test_readiness_asks_the_stores_that_the_roles_cannot_work_without(
    world: World, monkeypatch: pytest.MonkeyPatch, roles: tuple[str, ...], asked: set[str]
) -> None:
    found: set[str] = set()

    def watch(port: str) -> None:
        async def ping() -> None:
            found.add(port)
            raise Unavailable("away")

        monkeypatch.setattr(getattr(world.ports, port), "ping", ping)

    for port in ("messages", "queues", "presence"):
        watch(port)
    dispatcher = Dispatcher(DispatcherSettings(roles=roles), world.ports, world.time.clock())
    await dispatcher.start()
    missing = await dispatcher.missing()
    await dispatcher.stop(1.0)
    assert found == asked
    assert len(missing) == len(asked)
