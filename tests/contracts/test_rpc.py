"""What every adapter of the internal RPC promises, above all: to say truly what became of a call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from push_core.errors import DeadlineExceeded, Overloaded, Unavailable
from push_core.rpc.grpc import GrpcRpc
from push_core.rpc.inproc import InprocRpc
from push_core.rpc.port import (
    Broadcast,
    Cast,
    Deliver,
    Delivered,
    Kick,
    Listener,
    Offer,
    Peers,
    Poke,
    Receipt,
    ReceiptKind,
    Rpc,
    Stage,
    Subscription,
    Taking,
    Tally,
)

MAX_IN_FLIGHT = 4


class NodeUnderTest:
    """Answers by a script: `gate` holds calls up, `error` is raised, `asked` is all that arrived."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.error: Exception | None = None
        self.elsewhere: list[int] | None = None
        self.most_at_once = 0
        self._now = 0

    async def deliver(self, call: Deliver) -> Delivered:
        await self._came(call)
        return Delivered(bytes(Taking.ACCEPTED for offer in call.offers for _ in offer.devices))

    async def kick(self, kicks: Sequence[Kick]) -> list[bool]:
        await self._came(list(kicks))
        return [kick.epoch == 1 for kick in kicks]

    async def poke(self, pokes: Sequence[Poke]) -> None:
        await self._came(list(pokes))

    async def broadcast(self, call: Broadcast) -> list[Tally]:
        await self._came(call)
        return [Tally(Stage.DONE, cast.id, 2, 3, 4) for cast in call.casts]

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> list[bool]:
        await self._came(list(subscriptions))
        return [each.on for each in subscriptions]

    async def report(self, receipts: Sequence[Receipt]) -> Sequence[int] | None:
        await self._came(list(receipts))
        return self.elsewhere

    async def seen(self, calls: int) -> None:
        """Wait until that many calls arrived."""
        while len(self.asked) < calls:
            self.arrived.clear()
            await self.arrived.wait()

    async def _came(self, ask: object) -> None:
        self.asked.append(ask)
        self.arrived.set()
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self._now -= 1
        if self.error is not None:
            raise self.error


class Listening:
    """A started listener and the services behind it."""

    def __init__(self, listener: Listener, node: NodeUnderTest) -> None:
        self.listener = listener
        self.node = node

    @property
    def address(self) -> str:
        return self.listener.address


def offer(app: str = "courier", devices: Sequence[str] = ("d-1",), push: bytes = b'{"id":"7"}') -> Offer:
    return Offer(id=7, app=app, devices=list(devices), push=push, expires=1_790_000_600_000, ack_timeout_ms=10_000)


def deliver(*offers: Offer) -> Deliver:
    return Deliver("gw-1.a", 1_790_000_005_000, list(offers))


RECEIPT = Receipt(7, "courier", "d-1", ReceiptKind.RECEIVED, 1_790_000_000_000)


class RpcContract:
    """Subclasses give the fixture `rpc` (MAX_IN_FLIGHT calls per peer) and `nowhere`, an address where nobody listens."""

    @pytest.fixture
    async def stack(self) -> AsyncIterator[AsyncExitStack]:
        async with AsyncExitStack() as stack:
            yield stack

    @pytest.fixture
    async def peers(self, rpc: Rpc, stack: AsyncExitStack) -> Peers:
        peers = rpc.peers()
        stack.push_async_callback(peers.close)
        return peers

    async def serve(
        self, rpc: Rpc, stack: AsyncExitStack, *, zone: str = "default", node: bool = True, receipts: bool = True
    ) -> Listening:
        services = NodeUnderTest()
        listener = rpc.listen(node=services if node else None, receipts=services if receipts else None, zone=zone)
        await listener.start()
        stack.push_async_callback(listener.stop, 0)
        return Listening(listener, services)

    # ── what goes over ──────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_delivery_arrives_as_it_was_sent_and_its_takings_come_back(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        full = Offer(
            id=(1 << 63) - 1, app="courier", devices=["d-1", "d-2"], push=bytes(range(256)), expires=1, ack_timeout_ms=2,
            priority=0, again=True, via_vendor=True, recall=True, live_only=True,
        )  # fmt: skip
        call = Deliver("gw-1.a", 1_790_000_005_000, [full, offer("shop")], "00-4bf9-00f0-01")
        answer = await peers.deliver(there.address, call)
        assert answer.takings == bytes(3)
        assert there.node.asked == [call]

    async def test_equal_device_names_of_two_apps_stay_apart(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        await peers.poke(there.address, [Poke("courier", "d-1"), Poke("shop", "d-1")])
        assert there.node.asked == [[Poke("courier", "d-1"), Poke("shop", "d-1")]]

    async def test_kicks_are_answered_one_by_one(self, rpc: Rpc, peers: Peers, stack: AsyncExitStack) -> None:
        there = await self.serve(rpc, stack)
        kicks = [Kick("courier", "d-1", 1, 4301, "replaced"), Kick("courier", "d-2", -1, 4304, incarnation="gw-1.a")]
        assert await peers.kick(there.address, kicks) == [True, False]
        assert there.node.asked == [kicks]

    async def test_casts_arrive_as_they_were_sent_and_are_answered_one_by_one(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        to_all = Cast(id=(1 << 63) - 1, app="courier", topic=None, push=bytes(range(256)), expires=1, again=True)
        call = Broadcast(
            "gw-1.a", 1_790_000_005_000, [to_all, Cast(id=7, app="shop", topic="news", push=b"", expires=2)]
        )
        answers = await peers.broadcast(there.address, call)
        assert answers == [Tally(Stage.DONE, (1 << 63) - 1, 2, 3, 4), Tally(Stage.DONE, 7, 2, 3, 4)]
        assert there.node.asked == [call]

    async def test_subscriptions_are_answered_one_by_one(self, rpc: Rpc, peers: Peers, stack: AsyncExitStack) -> None:
        there = await self.serve(rpc, stack)
        wishes = [Subscription("courier", "d-1", ["news", "city-021"]), Subscription("courier", "d-2", ["news"], False)]
        assert await peers.subscribe(there.address, wishes) == [True, False]
        assert there.node.asked == [wishes]

    async def test_receipts_reach_a_service_of_their_zone(self, rpc: Rpc, peers: Peers, stack: AsyncExitStack) -> None:
        here, there = await self.serve(rpc, stack, zone="here"), await self.serve(rpc, stack, zone="there")
        await peers.report("there", [RECEIPT])
        assert (here.node.asked, there.node.asked) == ([], [[RECEIPT]])

    async def test_a_service_names_the_receipts_that_are_another_zone_s(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        assert not await peers.report("default", [RECEIPT, RECEIPT])
        there.node.elsewhere = [1]
        assert await peers.report("default", [RECEIPT, RECEIPT]) == [1]

    async def test_the_services_of_a_zone_take_turns(self, rpc: Rpc, peers: Peers, stack: AsyncExitStack) -> None:
        listening = [await self.serve(rpc, stack) for _ in range(3)]
        for _ in range(6):
            await peers.report("default", [RECEIPT])
        assert [len(one.node.asked) for one in listening] == [2, 2, 2]

    # ── nothing was done ────────────────────────────────────────────────────────────────────────────────────────────

    async def test_where_nobody_listens_nothing_was_done(self, peers: Peers, nowhere: str) -> None:
        with pytest.raises(Unavailable) as caught:
            await peers.deliver(nowhere, deliver(offer()))
        assert not isinstance(caught.value, DeadlineExceeded)
        assert nowhere in str(caught.value)

    async def test_a_node_that_stopped_is_not_reached(self, rpc: Rpc, peers: Peers, stack: AsyncExitStack) -> None:
        there = await self.serve(rpc, stack)
        await peers.poke(there.address, [])
        await there.listener.stop(0)
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await peers.poke(there.address, [])
            assert not isinstance(caught.value, DeadlineExceeded)

    async def test_a_service_that_is_not_offered_there_was_not_reached(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack, node=False)
        with pytest.raises(Unavailable) as caught:
            await peers.deliver(there.address, deliver(offer()))
        assert not isinstance(caught.value, DeadlineExceeded)

    async def test_a_zone_that_nobody_serves_was_not_reached(self, peers: Peers) -> None:
        with pytest.raises(Unavailable, match="mars"):
            await peers.report("mars", [RECEIPT])

    async def test_a_service_that_refuses_for_overload_did_nothing(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        there.node.error = Overloaded("the receipts' buffer is full")
        with pytest.raises(Overloaded, match="buffer is full"):
            await peers.report("default", [RECEIPT])

    async def test_receipts_pass_by_a_service_that_is_gone_or_full(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        gone, full, well = [await self.serve(rpc, stack) for _ in range(3)]
        full.node.error = Overloaded("full")
        await peers.report("default", [RECEIPT])
        await gone.listener.stop(0)
        for _ in range(4):
            await peers.report("default", [RECEIPT])
        assert len(well.node.asked) >= 4

    # ── unknown ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_silence_past_the_deadline_leaves_the_outcome_unknown(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        there.node.gate.clear()
        with pytest.raises(DeadlineExceeded):
            await peers.deliver(there.address, deliver(offer()), timeout_s=0.2)
        assert len(there.node.asked) == 1

    async def test_work_that_is_over_its_deadline_is_cancelled_at_the_other_end(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        there.node.gate.clear()
        with pytest.raises(DeadlineExceeded):
            await peers.poke(there.address, [], timeout_s=0.2)
        await asyncio.wait_for(there.node.cancelled.wait(), 5)

    @pytest.mark.parametrize("error", [Unavailable("the store is down"), ValueError("a bug")], ids=["ours", "a bug"])
    async def test_a_service_that_fails_leaves_the_outcome_unknown(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack, error: Exception
    ) -> None:
        there = await self.serve(rpc, stack)
        there.node.error = error
        with pytest.raises(DeadlineExceeded):
            await peers.report("default", [RECEIPT])
        there.node.error = None
        await peers.report("default", [RECEIPT])

    async def test_a_node_that_stops_during_the_call_leaves_the_outcome_unknown(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        there.node.gate.clear()
        calling = asyncio.create_task(peers.deliver(there.address, deliver(offer())))
        await asyncio.wait_for(there.node.arrived.wait(), 5)
        await there.listener.stop(0)
        with pytest.raises(DeadlineExceeded):
            await calling

    # ── stopping, cancelling, bounds ────────────────────────────────────────────────────────────────────────────────

    async def test_a_stop_waits_for_calls_under_way_within_its_grace(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        there.node.gate.clear()
        calling = asyncio.create_task(peers.deliver(there.address, deliver(offer())))
        await asyncio.wait_for(there.node.arrived.wait(), 5)
        stopping = asyncio.create_task(there.listener.stop(5))
        await asyncio.sleep(0)
        there.node.gate.set()
        assert (await calling).takings == bytes(1)
        await stopping
        await there.listener.stop(0)

    async def test_a_cancelled_caller_is_cancelled_and_so_is_its_call(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        there.node.gate.clear()
        calling = asyncio.create_task(peers.deliver(there.address, deliver(offer())))
        await asyncio.wait_for(there.node.arrived.wait(), 5)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asyncio.wait_for(there.node.cancelled.wait(), 5)

    async def test_calls_in_flight_per_peer_are_bounded_and_all_are_made(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        there = await self.serve(rpc, stack)
        await asyncio.gather(*(peers.poke(there.address, [Poke("courier", str(n))]) for n in range(5 * MAX_IN_FLIGHT)))
        assert len(there.node.asked) == 5 * MAX_IN_FLIGHT
        assert there.node.most_at_once <= MAX_IN_FLIGHT

    async def test_waiting_for_room_counts_against_the_deadline_and_does_nothing(
        self, rpc: Rpc, peers: Peers, stack: AsyncExitStack
    ) -> None:
        slow, quick = await self.serve(rpc, stack), await self.serve(rpc, stack)
        slow.node.gate.clear()
        held = [asyncio.create_task(peers.poke(slow.address, [])) for _ in range(MAX_IN_FLIGHT)]
        await asyncio.wait_for(slow.node.seen(MAX_IN_FLIGHT), 5)
        with pytest.raises(Overloaded):
            await peers.poke(slow.address, [], timeout_s=0.05)
        assert len(slow.node.asked) == MAX_IN_FLIGHT
        await peers.poke(quick.address, [])
        slow.node.gate.set()
        await asyncio.gather(*held)

    async def test_a_forgotten_node_can_be_called_again(self, rpc: Rpc, peers: Peers, stack: AsyncExitStack) -> None:
        there = await self.serve(rpc, stack)
        await peers.poke(there.address, [])
        await peers.forget(there.address)
        await peers.forget("never seen:1")
        await peers.poke(there.address, [])
        assert len(there.node.asked) == 2

    async def test_closed_peers_reach_nobody(self, rpc: Rpc, peers: Peers, stack: AsyncExitStack) -> None:
        there = await self.serve(rpc, stack)
        await peers.close()
        with pytest.raises(Unavailable):
            await peers.poke(there.address, [])
        with pytest.raises(Unavailable):
            await peers.report("default", [RECEIPT])


class TestInprocRpc(RpcContract):
    @pytest.fixture
    def rpc(self) -> InprocRpc:
        return InprocRpc(max_in_flight=MAX_IN_FLIGHT)

    @pytest.fixture
    def nowhere(self) -> str:
        return "inproc:nowhere"


class TestGrpcRpc(RpcContract):
    @pytest.fixture
    def rpc(self) -> GrpcRpc:
        return GrpcRpc(max_in_flight=MAX_IN_FLIGHT)

    @pytest.fixture
    async def nowhere(self, rpc: GrpcRpc) -> str:
        listener = rpc.listen(zone="default")
        await listener.start()
        await listener.stop(0)
        return listener.address
