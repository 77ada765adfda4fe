"""Calls to gateways: shared by batches, bounded, and not waited for when a node is known to be slow."""

import asyncio
from typing import Any

import pytest

from dispatcher.node_client import NodeClients
from dispatcher.settings import DispatcherSettings
from push_core.errors import Overloaded
from push_core.metrics.memory import MemoryMetrics
from push_core.presence.memory import MemoryPresence
from push_core.rpc.inproc import InprocRpc
from push_core.rpc.port import Deliver, Delivered, Offer, Taking
from tests.dispatcher.fake_node import FakeNode
from tests.support.hand_clock import HandClock

ACCEPTED, UNKNOWN = bytes((Taking.ACCEPTED,)), bytes((Taking.UNKNOWN,))
PUT_OFF = bytes((Taking.NOT_REACHED,))


class Line:
    """One node and the client towards it."""

    def __init__(self, **settings: Any) -> None:
        self.time = HandClock()
        self.rpc = InprocRpc()
        self.node = FakeNode(self.rpc, MemoryPresence())
        self.clients = NodeClients(
            self.rpc.peers(),
            DispatcherSettings(**settings),
            self.time.clock(),
            MemoryMetrics(),
        )

    async def start(self) -> "Line":
        await self.node.start()
        await self.node.connect("d-1", "d-2")
        return self

    async def deliver(self, *ids: int, devices: tuple[str, ...] = ("d-1",)) -> bytes:
        offers = [
            Offer(id=one, app="courier", devices=list(devices), push=b"{}", expires=10**15, ack_timeout_ms=10_000)
            for one in ids
        ]
        return await self.clients.of(self.node.node).deliver(offers, "trace")


async def test_batches_that_come_together_share_a_call_and_each_gets_its_answers() -> None:
    line = await Line(calls_per_node=1).start()
    line.node.plan["d-2"] = Taking.FULL
    given = (line.deliver(1), line.deliver(2, devices=("d-2", "d-1")), line.deliver(3, 4))
    assert list(await asyncio.gather(*given)) == [ACCEPTED, bytes((Taking.FULL, Taking.ACCEPTED)), ACCEPTED * 2]
    assert len(line.node.calls) == 1


async def test_a_call_takes_so_many_offers_and_no_more() -> None:
    line = await Line(offers_per_call=2).start()
    assert await line.deliver(1, 2, 3, 4, 5) == ACCEPTED * 5
    assert sorted(len(call.offers) for call in line.node.calls) == [1, 2, 2]


async def test_the_call_says_which_life_of_the_node_is_meant_and_when_it_ends() -> None:
    line = await Line(call_timeout_s=5.0).start()
    await line.deliver(1)
    (call,) = line.node.calls
    assert (call.incarnation, call.deadline, call.traceparent) == ("gw-1#1", line.time.wall + 5_000, "trace")


async def test_no_answer_in_time_is_unknown() -> None:
    line = await Line(call_timeout_s=0.02).start()
    line.node.gate = asyncio.Event()
    assert await line.deliver(1) == UNKNOWN


async def test_nobody_there_is_certain() -> None:
    line = await Line().start()
    node = line.node.node
    assert line.node.listener is not None
    await line.node.listener.stop(0)
    assert await line.deliver(1) == PUT_OFF
    assert node.incarnation == "gw-1#1"


async def test_an_answer_for_other_devices_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    line = await Line().start()

    async def short(self: FakeNode, call: Deliver) -> Delivered:
        return Delivered(b"")

    monkeypatch.setattr(FakeNode, "deliver", short)
    assert await line.deliver(1, 2) == UNKNOWN * 2


async def test_while_a_call_is_overdue_nothing_waits_behind_it() -> None:
    line = await Line(silent_node_s=1.0).start()
    line.node.gate = asyncio.Event()
    first = asyncio.create_task(line.deliver(1))
    while not line.node.calls:
        await asyncio.sleep(0)
    line.time.advance(1.0)
    assert await line.deliver(2) == PUT_OFF
    line.node.gate.set()
    assert await first == ACCEPTED
    assert await line.deliver(3) == ACCEPTED


async def test_after_a_timeout_one_call_tries_and_the_others_are_put_off() -> None:
    line = await Line(call_timeout_s=0.02).start()
    line.node.gate = asyncio.Event()
    assert await line.deliver(1) == UNKNOWN
    probe = asyncio.create_task(line.deliver(2))
    while len(line.node.calls) < 2:
        await asyncio.sleep(0)
    assert await line.deliver(3) == PUT_OFF
    line.node.gate.set()
    assert await probe == ACCEPTED
    assert await line.deliver(4) == ACCEPTED


async def test_a_line_that_is_full_puts_off() -> None:
    line = await Line(node_bound=2, calls_per_node=1).start()
    line.node.gate = asyncio.Event()
    first = asyncio.create_task(line.deliver(1))
    while not line.node.calls:
        await asyncio.sleep(0)
    waiting = [asyncio.create_task(line.deliver(n)) for n in (2, 3)]
    await asyncio.sleep(0)
    assert await line.deliver(4) == PUT_OFF
    line.node.gate.set()
    assert await asyncio.gather(first, *waiting) == [ACCEPTED] * 3


async def test_too_many_calls_at_a_peer_is_no_reason_to_suspect_it(monkeypatch: pytest.MonkeyPatch) -> None:
    line = await Line().start()

    async def overloaded(self: FakeNode, call: Deliver) -> Delivered:
        raise Overloaded("64 calls are under way already")

    with monkeypatch.context() as patched:
        patched.setattr(FakeNode, "deliver", overloaded)
        assert await line.deliver(1) == PUT_OFF
    assert not line.clients.of(line.node.node).holding_up
    assert await line.deliver(1) == ACCEPTED


async def test_nodes_that_are_gone_are_forgotten() -> None:
    line = await Line().start()
    client = line.clients.of(line.node.node)
    await line.clients.forget_all_but([line.node.node])
    assert line.clients.of(line.node.node) is client
    await line.clients.forget_all_but([])
    assert line.clients.of(line.node.node) is not client
    await line.clients.close()
