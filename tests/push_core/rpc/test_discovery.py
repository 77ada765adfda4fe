"""Peers found in presence and control, and forgotten when they are gone."""

from collections.abc import Sequence
from typing import Any

import pytest

from push_core.control.port import Entry
from push_core.errors import Unavailable
from push_core.presence.port import GATEWAY, RECEIPTS, Node
from push_core.rpc.discovery import Discovery, receipts_from_value
from push_core.rpc.zones import Zones


def node(address: str, role: str = RECEIPTS, zone: str = "east") -> Node:
    return Node(incarnation=f"life of {address}", name=address, address=address, zone=zone, role=role)


class Site:
    """Presence, control and the calling side, as far as discovery asks them."""

    def __init__(self) -> None:
        self.there: list[Node] = []
        self.away = False
        self.forgotten: list[str] = []
        self.tell: Any = None
        self.zones = Zones({"west": ("named:1",)})
        self.discovery = Discovery(self, self, self.zones, self, "east", every_s=0.0)  # type: ignore[arg-type]

    async def nodes(self) -> Sequence[Node]:
        if self.away:
            raise Unavailable("presence is down")
        return self.there

    def subscribe(self, key: str, fn: Any) -> None:
        assert key == "zones"
        self.tell = fn

    async def forget(self, address: str) -> None:
        self.forgotten.append(address)


async def test_services_of_the_own_zone_are_found() -> None:
    site = Site()
    site.there = [node("a:1"), node("b:1"), node("gw:1", GATEWAY), node("far:1", zone="west")]
    await site.discovery.look()
    assert site.zones.addresses("east") == ["a:1", "b:1"]
    assert site.zones.addresses("west") == ["named:1"]


async def test_a_peer_that_is_gone_is_forgotten() -> None:
    site = Site()
    site.there = [node("a:1"), node("b:1"), node("gw:1", GATEWAY)]
    await site.discovery.look()
    site.there = [node("b:1")]
    await site.discovery.look()
    assert site.zones.addresses("east") == ["b:1"]
    assert sorted(site.forgotten) == ["a:1", "gw:1"]


async def test_a_new_life_at_the_same_address_is_the_same_peer() -> None:
    site = Site()
    site.there = [node("a:1")]
    await site.discovery.look()
    site.there = [Node(incarnation="next", name="a", address="a:1", zone="east", role=RECEIPTS)]
    await site.discovery.look()
    assert site.forgotten == []


async def test_presence_that_is_away_or_was_emptied_changes_nothing() -> None:
    site = Site()
    site.there = [node("a:1"), node("gw:1", GATEWAY)]
    await site.discovery.look()
    site.away = True
    await site.discovery.run()
    site.away, site.there = False, []
    await site.discovery.look()
    assert site.zones.addresses("east") == ["a:1"]
    assert site.forgotten == []


async def test_the_last_services_hold_while_presence_names_only_gateways() -> None:
    site = Site()
    site.there = [node("a:1"), node("gw:1", GATEWAY)]
    await site.discovery.look()
    site.there = [node("gw:1", GATEWAY)]
    await site.discovery.look()
    assert site.zones.addresses("east") == ["a:1"]
    assert site.forgotten == []


async def test_a_thousand_lives_leave_none_behind() -> None:
    site = Site()
    for number in range(1, 1_001):
        site.there = [node(f"a:{number}"), node("gw:1", GATEWAY)]
        await site.discovery.look()
    assert len(site.forgotten) == 999
    assert site.zones.known() == {"a:1000", "named:1"}


async def test_control_names_services_of_other_zones() -> None:
    site = Site()
    site.tell(Entry("zones", 1, {"west": {"receipts": ["told:1", "told:2"]}}))
    assert site.zones.addresses("west") == ["told:1", "told:2", "named:1"]
    site.tell(Entry("zones", 2, {"west": {"receipts": ["told:1:x"]}}))
    assert site.zones.addresses("west") == ["told:1", "told:2", "named:1"], "what makes no sense is refused whole"
    site.tell(Entry("zones", 3, None))
    assert site.zones.addresses("west") == ["named:1"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "zones must be an object"),
        ({"west": ["a:1"]}, "zones.west.receipts must be a list"),
        ({"west": {"receipts": "a:1"}}, "zones.west.receipts must be a list"),
        ({"west": {"receipts": [7]}}, "zones.west.receipts: 7 is not host:port"),
        ({"west": {"receipts": ["a"]}}, "zones.west.receipts: 'a' is not host:port"),
        ({"west": {"receipts": ["a:0"]}}, "zones.west.receipts: 'a:0' is not host:port"),
        ({"west": {"receipts": ["a:70000"]}}, "zones.west.receipts: 'a:70000' is not host:port"),
    ],
    ids=str,
)
def test_bad_addresses_are_refused_and_say_where(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        receipts_from_value(value)
