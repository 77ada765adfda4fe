"""Whose hello is looked at, and that whoever is in already is never turned away."""

from dataclasses import replace
from typing import Any, cast

import pytest

from push_core.control.port import Control
from push_core.control.watch import ControlWatch
from push_core.load import LoopLag
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_gateway.admission import Admission
from push_gateway.guard.guard import Guard
from push_gateway.registry import Registry
from push_gateway.settings import GatewaySettings
from sdk_proto.wire import frames as f
from tests.push_gateway.support import Client, Node, Site, offer
from tests.support.hand_clock import HandClock


class Door:
    def __init__(self, **settings: Any) -> None:
        self.clock = HandClock()
        self.metrics = MemoryMetrics()
        self.lag = LoopLag("gateway", self.metrics)
        self.settings = replace(GatewaySettings(), **settings)
        clock = self.clock.clock()
        self.guard = Guard(self.settings, ControlWatch(cast(Control, None), None), self.metrics, clock)
        self.registry = Registry()
        self.admission = Admission(self.registry, self.guard, self.lag, self.metrics, self.settings, clock)

    def under_way(self, sign_ins: int) -> None:
        """For a while already."""
        for _ in range(sign_ins):
            self.admission.began()
        for _ in range(300):
            self.admission.ended(self.admission.began(), well=False)

    def lets_in(self, address: str = "192.0.2.7") -> bool:
        return self.admission.refusal(address) is None


def test_a_storm_is_let_in_while_the_loop_keeps_up() -> None:
    door = Door()
    door.under_way(10_000)
    assert door.lets_in()


def test_a_late_loop_lets_in_what_can_be_served_and_sends_the_rest_away_for_a_while() -> None:
    door = Door(shed_least=1_000, overload_retry_ms=5_000)
    door.lag.smoothed_s = 0.3
    door.under_way(900)
    assert door.lets_in()
    door.under_way(900)
    refusal = door.admission.refusal("192.0.2.7")
    assert refusal is not None
    assert 0 <= refusal.retry_after_ms <= 5_000
    assert door.metrics.counted(Metric.SHED, place="gateway") == 1


def test_shedding_can_be_turned_off() -> None:
    door = Door(shed_lag_s=0.0, shed_slow_s=0.0)
    door.lag.smoothed_s = 10.0
    door.under_way(5_000)
    assert door.lets_in()


def test_an_address_over_its_rate_waits_and_others_do_not() -> None:
    door = Door(address_sign_ins=1.0, address_sign_ins_burst=3, overload_retry_ms=0)
    assert [door.lets_in() for _ in range(4)] == [True, True, True, False]
    refusal = door.admission.refusal("192.0.2.7")
    assert refusal is not None
    assert refusal.retry_after_ms == 1_000
    assert door.lets_in("192.0.2.8")
    assert door.metrics.counted(Metric.LIMITED, limit="sign_ins") == 2
    door.clock.advance(1.0)
    assert door.lets_in()


async def refused(node: Node, device: str) -> f.Bye:
    client = await node.client()
    await client.hello(device)
    bye = await client.receive()
    assert isinstance(bye, f.Bye), bye
    assert bye.code == 4003
    assert await client.closed() == 4003
    return bye


async def test_a_device_whose_address_is_over_its_rate_gets_4003_and_a_time(site: Site) -> None:
    node = await site.node(address_sign_ins=0.01, address_sign_ins_burst=2, overload_retry_ms=0)
    inside = [await node.device("d-1"), await node.device("d-2")]
    bye = await refused(node, "d-3")
    assert bye.reason == "too many sign-ins from this address"
    assert 90_000 <= bye.retry_after_ms <= 100_000
    for client in inside:
        await client.pong()


async def test_an_overloaded_node_takes_acks_and_pushes_of_those_that_are_in(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await site.node(shed_least=1)
    inside = await node.device("d-1")
    context = node.gateway._context
    monkeypatch.setattr(type(context.admission._shedder), "pressure", lambda *_: 100.0)
    assert (await refused(node, "d-2")).reason == "the node is busy"
    message_id = await pushed(node, inside)
    await inside.ack(message_id)
    await inside.pong()
    await site.receipts.until(lambda receipts: any(receipt.id == message_id for receipt in receipts.taken))


async def pushed(node: Node, client: Client) -> int:
    await node.deliver(offer("d-1"))
    return (await client.push()).id


async def test_sign_ins_under_way_are_counted_down_however_they_end(node: Node) -> None:
    await node.device("d-1")
    client = await node.client()
    await client.hello("d-2", token="nonsense")
    assert await client.closed() == 4201
    assert node.gateway._context.admission._shedder.flying == 0
