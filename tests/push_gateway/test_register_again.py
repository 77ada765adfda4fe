"""Every session has its turn after a loss, however often presence is lost and whoever else is away."""

import asyncio
from collections.abc import Sequence
from typing import Any

from push_core.errors import Unavailable
from push_core.presence.port import Route
from tests.push_gateway.support import APP, Node, Site
from tests.push_gateway.test_lease import OFTEN, run_out, until_located

ONE_BY_ONE: dict[str, Any] = {**OFTEN, "register_batch": 1}


class Watched:
    """What a gateway tells presence: registering can be held back before its `n`-th call, and its comparing finds out nothing, as if there
    were so many sessions that it took its ten minutes."""

    def __init__(self, node: Node) -> None:
        presence = node.ports.presence
        self.told: list[list[str]] = []
        self.lost = 0
        self._stop_at: int | None = None
        self._go_on = asyncio.Event()
        self._register, self.locate = presence.register_again, presence.locate
        self._lease: Any = presence.lease_node
        presence.register_again = self._registers  # type: ignore[method-assign]
        presence.lease_node = self._leases  # type: ignore[method-assign, assignment]
        presence.locate = self._compares  # type: ignore[method-assign, assignment]

    def hold_at(self, n: int) -> None:
        self._stop_at = n

    def go_on(self) -> None:
        self._stop_at = None
        self._go_on.set()

    async def until_told(self, n: int) -> None:
        while len(self.told) < n:
            await asyncio.sleep(0.001)

    async def until_lost(self, n: int) -> None:
        while self.lost < n:
            await asyncio.sleep(0.001)

    async def _registers(self, routes: Sequence[Route]) -> list[bool]:
        self.told.append([route.device for route in routes])
        if len(self.told) == self._stop_at:
            await self._go_on.wait()
        return await self._register(routes)

    async def _leases(self, *args: Any) -> bool:
        unbroken: bool = await self._lease(*args)
        self.lost += not unbroken
        return unbroken

    async def _compares(self, _: Any) -> Any:
        raise Unavailable("not now")


async def signed_in(node: Node, count: int) -> list[str]:
    names = [f"d-{number}" for number in range(count)]
    for name in names:
        await node.device(name)
    return names


async def test_a_second_loss_while_registering_gives_everybody_another_turn(site: Site) -> None:
    """Those who had theirs before it are void again."""
    node = await site.node(**ONE_BY_ONE)
    names = await signed_in(node, 4)
    watched = Watched(node)
    watched.hold_at(3)
    run_out(node)
    await watched.until_told(3)
    run_out(node)
    await watched.until_lost(2)
    watched.go_on()
    await watched.until_told(7)
    assert watched.told == [
        [name] for name in (*names, *names[:3])
    ]  # the last one did not wait for the others' second turn
    while None in await watched.locate([(APP, name) for name in names]):
        await asyncio.sleep(0.001)


async def test_a_message_store_that_is_away_holds_up_nobodys_route(site: Site) -> None:
    node = await site.node(**ONE_BY_ONE)
    client = await node.device("d-0")
    await node.device("d-1")
    stored = await node.store("d-0")
    waiting, asked = site.ports.messages.waiting, 0

    async def away(*_: Any) -> Any:
        nonlocal asked
        asked += 1
        raise Unavailable("away")

    site.ports.messages.waiting = away  # type: ignore[method-assign, assignment]
    run_out(node)
    await until_located(node, "d-0")
    await until_located(node, "d-1")
    while asked < 3:
        await asyncio.sleep(0.001)
    site.ports.messages.waiting = waiting  # type: ignore[method-assign]
    assert (await client.push()).id == stored


async def test_who_leaves_while_being_registered_leaves_no_route(site: Site) -> None:
    """Its sign-out may reach presence before the registering does."""
    node = await site.node(**ONE_BY_ONE)
    client = await node.device("d-0")
    watched = Watched(node)
    watched.hold_at(1)
    run_out(node)
    await watched.until_told(1)
    signed_out, sign_out = asyncio.Event(), site.ports.presence.sign_out

    async def signs_out(routes: Sequence[Route]) -> list[bool]:
        answers = await sign_out(routes)
        signed_out.set()
        return answers

    site.ports.presence.sign_out = signs_out  # type: ignore[method-assign]
    await client.socket.close()
    await signed_out.wait()
    signed_out.clear()
    watched.go_on()
    await signed_out.wait()
    assert await watched.locate([(APP, "d-0")]) == [None]


async def test_who_is_still_to_be_registered_is_no_reason_to_register_all_once_more(site: Site) -> None:
    node = await site.node(**ONE_BY_ONE)
    names = await signed_in(node, 3)
    watched = Watched(node)
    site.ports.presence.locate = watched.locate  # type: ignore[method-assign]  # it compares
    watched.hold_at(2)
    run_out(node)
    await watched.until_told(2)
    lease, renewals = watched._lease, 0

    async def counted(*args: Any) -> bool:
        nonlocal renewals
        renewals += 1
        unbroken: bool = await lease(*args)
        return unbroken

    watched._lease = counted
    while renewals < 5:
        await asyncio.sleep(0.001)
    watched.go_on()
    while None in await watched.locate([(APP, name) for name in names]):
        await asyncio.sleep(0.001)
    assert watched.told == [[name] for name in names]
