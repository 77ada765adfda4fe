"""Bounds of the presence in this process."""

import pytest

from push_core.errors import Overloaded, Unavailable
from push_core.presence.memory import MemoryPresence
from push_core.presence.port import Node, Route
from tests.support.hand_clock import HandClock


def node(name: str) -> Node:
    return Node(incarnation=f"{name}.1", name=name, address="127.0.0.1:1", zone="default")


def route(device: str, on: str = "gw") -> Route:
    return Route(app="courier", device=device, incarnation=f"{on}.1", epoch=1)


async def test_beyond_the_bound_sign_ins_are_refused_whole_and_those_known_go_on() -> None:
    presence = MemoryPresence(size=2)
    await presence.lease_node(node("gw"), 15)
    await presence.sign_in([route("a"), route("b")])
    for refused in (presence.sign_in, presence.register_again):
        with pytest.raises(Overloaded):
            await refused([route("a"), route("c")])
    await presence.sign_in([route("a"), route("b"), route("a")])
    await presence.sign_out([route("a")])
    await presence.sign_in([route("c")])
    assert len(presence) == 2


async def test_routes_of_a_node_without_a_lease_are_void_and_its_first_lease_says_register_again() -> None:
    presence = MemoryPresence()
    await presence.sign_in([route("a")])
    assert await presence.locate([("courier", "a")]) == [None]
    assert await presence.nodes() == []
    assert await presence.lease_node(node("gw"), 15) is False


async def test_lost_leases_are_remembered_up_to_a_bound_and_their_routes_still_swept() -> None:
    clock = HandClock()
    presence = MemoryPresence(remembered=3, monotonic=clock.monotonic)
    for n in range(10):
        await presence.lease_node(node(f"gw-{n}"), 15)
        await presence.sign_in([route(f"d-{n}", on=f"gw-{n}")])
        clock.advance(20)
    assert len(presence._leases) <= 4
    assert await presence.sweep() == 10
    assert len(presence) == 0
    assert await presence.lease_node(node("gw-9"), 15) is False


async def test_live_nodes_are_never_forgotten() -> None:
    presence = MemoryPresence(remembered=2)
    for n in range(5):
        await presence.lease_node(node(f"gw-{n}"), 15)
    assert len(await presence.nodes()) == 5


async def test_nothing_is_answered_after_the_close() -> None:
    presence = MemoryPresence()
    await presence.close()
    with pytest.raises(Unavailable):
        await presence.locate([("courier", "a")])
    with pytest.raises(Unavailable):
        await presence.sign_in([])
