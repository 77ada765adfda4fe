"""What only the network can do to a call: wrong keys, dead and silent peers, cut connections, sizes."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import grpc
import pytest
import structlog
import uvloop
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from push_core.errors import ConfigError, DeadlineExceeded, Unavailable
from push_core.rpc.grpc import GrpcRpc
from push_core.rpc.grpc_metadata import KEY, VERSION
from push_core.rpc.port import Deliver, Delivered, Kick, Offer, Poke, Receipt, ReceiptKind
from push_core.rpc.wire import DELIVER, NODE, RECEIPTS
from tests.support.audience import NoAudience

RECEIPT = Receipt(7, "courier", "d-1", ReceiptKind.RECEIVED, 1_790_000_000_000)


class Node(NoAudience):
    def __init__(self) -> None:
        self.asked = 0
        self.answer_bytes = 0
        self.traces: list[object] = []
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def deliver(self, call: Deliver) -> Delivered:
        self.asked += 1
        self.traces.append(structlog.contextvars.get_contextvars().get("traceparent"))
        self.arrived.set()
        await self.gate.wait()
        return Delivered(bytes(self.answer_bytes))

    async def kick(self, kicks: Sequence[Kick]) -> list[bool]:
        self.asked += 1
        return [True] * len(kicks)

    async def poke(self, pokes: Sequence[Poke]) -> None:
        self.asked += 1
        self.traces.append(structlog.contextvars.get_contextvars().get("traceparent"))

    async def report(self, receipts: Sequence[Receipt]) -> None:
        self.asked += 1


CALL = Deliver("gw-1.a", 1_790_000_005_000, [])


def call_of(size: int) -> Deliver:
    push = bytes(size)
    return Deliver("gw-1.a", 0, [Offer(id=7, app="a", devices=["d"], push=push, expires=1, ack_timeout_ms=1)])


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def serve(stack: AsyncExitStack, rpc: GrpcRpc, node: Node) -> str:
    listener = rpc.listen(node=node, receipts=node, zone="default")
    await listener.start()
    stack.push_async_callback(listener.stop, 0)
    return listener.address


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("theirs", ["other", "secre", "secret ", "sécret", None], ids=str)
async def test_a_caller_without_the_cluster_key_is_refused_before_anything_is_done(
    stack: AsyncExitStack, theirs: str | None
) -> None:
    node = Node()
    address = await serve(stack, GrpcRpc(cluster_key="secret"), node)
    peers = GrpcRpc(cluster_key=theirs).peers()
    stack.push_async_callback(peers.close)
    with pytest.raises(Unavailable) as caught:
        await peers.deliver(address, CALL)
    assert not isinstance(caught.value, DeadlineExceeded)
    assert node.asked == 0
    assert "secret" not in str(caught.value)


async def test_a_call_without_any_key_is_unauthenticated(stack: AsyncExitStack) -> None:
    address = await serve(stack, GrpcRpc(cluster_key="secret"), Node())
    async with aio.insecure_channel(address) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary(DELIVER.path, None, None)(DELIVER.encode_ask(CALL), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_programs_with_the_same_key_reach_one_another_by_the_addresses_of_the_settings(
    stack: AsyncExitStack,
) -> None:
    node = Node()
    address = await serve(stack, GrpcRpc(cluster_key="secret"), node)
    peers = GrpcRpc(cluster_key="secret", receipts={"default": ("127.0.0.1:1", address)}).peers()
    stack.push_async_callback(peers.close)
    for _ in range(4):
        await peers.report("default", [RECEIPT])
    assert node.asked == 4


# ── peers that are no peers ─────────────────────────────────────────────────────────────────────────────────────────


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def pretend(stack: AsyncExitStack, handler: Handler) -> str:
    """A TCP server that is no peer; at the end of the test its connections are waited for, so that none outlives its loop."""
    serving: list[asyncio.Task[None]] = []

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        try:
            await handler(reader, writer)
        finally:
            writer.close()
            await asyncio.wait({asyncio.ensure_future(writer.wait_closed())})

    async def ended() -> None:
        await asyncio.gather(*serving, return_exceptions=True)

    stack.push_async_callback(ended)
    server = await stack.enter_async_context(await asyncio.start_server(accepted, "127.0.0.1", 0))
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_peer_that_accepts_and_says_nothing_was_not_reached(stack: AsyncExitStack) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    address = await pretend(stack, silent)
    peers = GrpcRpc().peers()
    stack.push_async_callback(peers.close)
    with pytest.raises(Unavailable, match="no connection within"):
        await peers.deliver(address, CALL, timeout_s=0.3)


async def test_a_peer_that_speaks_something_else_was_not_reached(stack: AsyncExitStack) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    address = await pretend(stack, rude)
    peers = GrpcRpc().peers()
    stack.push_async_callback(peers.close)
    with pytest.raises(Unavailable):
        await peers.deliver(address, CALL, timeout_s=2)


@pytest.mark.parametrize("address", ["", "not an address", "127.0.0.1:99999", "[::1"])
async def test_an_address_that_is_none_was_not_reached(stack: AsyncExitStack, address: str) -> None:
    peers = GrpcRpc().peers()
    stack.push_async_callback(peers.close)
    with pytest.raises(Unavailable):
        await peers.deliver(address, CALL, timeout_s=1)


class Wire:
    """A TCP relay in front of a server that can be cut."""

    def __init__(self, address: str) -> None:
        self._port = int(address.rpartition(":")[2])
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""

    async def open(self, stack: AsyncExitStack) -> None:
        self.address = await pretend(stack, self._relay)
        stack.callback(self.cut)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ends = {writer, there_writer}
        self._writers |= ends
        try:
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        finally:
            self._writers -= ends
            there_writer.close()
            await asyncio.wait({asyncio.ensure_future(there_writer.wait_closed())})

    async def _pump(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                to.write(data)
                await to.drain()
        to.close()


async def test_a_connection_that_is_cut_during_the_call_leaves_the_outcome_unknown(stack: AsyncExitStack) -> None:
    node, rpc = Node(), GrpcRpc()
    wire = Wire(await serve(stack, rpc, node))
    await wire.open(stack)
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    node.gate.clear()
    calling = asyncio.create_task(peers.deliver(wire.address, CALL))
    await asyncio.wait_for(node.arrived.wait(), 5)
    wire.cut()
    with pytest.raises(DeadlineExceeded):
        await calling


async def test_after_a_cut_the_next_call_connects_again(stack: AsyncExitStack) -> None:
    node, rpc = Node(), GrpcRpc()
    wire = Wire(await serve(stack, rpc, node))
    await wire.open(stack)
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    await peers.poke(wire.address, [])
    wire.cut()
    for _ in range(50):  # gRPC notices the cut when it may; until then a call can still fail, but truly
        try:
            await peers.poke(wire.address, [])
            break
        except Unavailable:
            await asyncio.sleep(0.05)
    else:
        pytest.fail("never connected again")


async def test_forgetting_a_node_under_a_call_is_no_cancellation_of_the_caller(stack: AsyncExitStack) -> None:
    node, rpc = Node(), GrpcRpc()
    address = await serve(stack, rpc, node)
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    node.gate.clear()
    calling = asyncio.create_task(peers.deliver(address, CALL))
    await asyncio.wait_for(node.arrived.wait(), 5)
    await peers.forget(address)
    with pytest.raises(DeadlineExceeded):
        await calling


async def test_beyond_its_bound_the_connection_idle_for_longest_is_closed_and_none_in_use(
    stack: AsyncExitStack,
) -> None:
    rpc = GrpcRpc(max_peers=2)
    nodes = [Node() for _ in range(4)]
    addresses = [await serve(stack, rpc, node) for node in nodes]
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    nodes[0].gate.clear()
    busy = asyncio.create_task(peers.deliver(addresses[0], CALL))
    await asyncio.wait_for(nodes[0].arrived.wait(), 5)
    for address in (*addresses[1:], *addresses[1:]):
        await peers.poke(address, [])
    assert len(peers._peers) == 2
    nodes[0].gate.set()
    await busy
    assert [node.asked for node in nodes] == [1, 2, 2, 2]


# ── sizes, bodies, deadlines ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_over_the_size_limit_is_not_sent(stack: AsyncExitStack) -> None:
    node, rpc = Node(), GrpcRpc(max_message_bytes=100_000)
    address = await serve(stack, rpc, node)
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    with pytest.raises(Unavailable, match="too large") as caught:
        await peers.deliver(address, call_of(100_000))
    assert not isinstance(caught.value, DeadlineExceeded)
    assert node.asked == 0
    await peers.deliver(address, call_of(99_000))


async def test_the_default_size_limit_takes_a_full_batch_of_full_messages(stack: AsyncExitStack) -> None:
    node, rpc = Node(), GrpcRpc()
    address = await serve(stack, rpc, node)
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    await peers.deliver(address, Deliver("gw-1.a", 0, call_of(8_192).offers * 256))
    assert node.asked == 1


async def test_an_answer_over_the_size_limit_leaves_the_outcome_unknown(stack: AsyncExitStack) -> None:
    node, rpc = Node(), GrpcRpc(max_message_bytes=10_000)
    node.answer_bytes = 20_000
    address = await serve(stack, rpc, node)
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    with pytest.raises(DeadlineExceeded):
        await peers.deliver(address, CALL)


async def raw(address: str, body: bytes, timeout_s: float | None) -> grpc.StatusCode:
    rpc = GrpcRpc(cluster_key="secret")
    metadata = ((KEY, rpc.proof), (VERSION, str(rpc.spoken)))
    async with aio.insecure_channel(address) as channel:
        send = channel.unary_unary(DELIVER.path, None, None)
        with pytest.raises(aio.AioRpcError) as caught:
            await send(body, timeout=timeout_s, metadata=metadata)
        return caught.value.code()


async def test_a_body_that_is_no_call_and_a_call_without_a_deadline_are_refused(stack: AsyncExitStack) -> None:
    node = Node()
    address = await serve(stack, GrpcRpc(cluster_key="secret"), node)
    for body in (b"", b"\xc1", b"\x93\xa1x\x01", DELIVER.encode_ask(CALL)[:-1]):
        assert await raw(address, body, 5) is grpc.StatusCode.INVALID_ARGUMENT
    assert await raw(address, DELIVER.encode_ask(CALL), None) is grpc.StatusCode.INVALID_ARGUMENT
    assert node.asked == 0


# ── traces, health, addresses ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_trace_of_a_call_is_bound_where_it_is_served(stack: AsyncExitStack) -> None:
    node, rpc = Node(), GrpcRpc()
    address = await serve(stack, rpc, node)
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    await peers.deliver(address, Deliver("gw-1.a", 0, [], "00-aa-bb-01"))
    with structlog.contextvars.bound_contextvars(traceparent="00-cc-dd-01"):
        await peers.poke(address, [])
    await peers.poke(address, [])
    await peers.deliver(address, Deliver("gw-1.a", 0, [], "not\na trace é"))
    assert node.traces == ["00-aa-bb-01", "00-cc-dd-01", None, None]


async def test_the_standard_health_service_answers_without_a_key_and_says_when_it_stops(
    stack: AsyncExitStack,
) -> None:
    node, rpc = Node(), GrpcRpc()
    node.gate.clear()
    listener = rpc.listen(node=node, zone="default")
    await listener.start()
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    async with aio.insecure_channel(listener.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", NODE):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service=RECEIPTS), timeout=5)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watching = health.Watch(health_pb2.HealthCheckRequest(service=NODE), timeout=5)
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(listener.stop(0.2))
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await stopping


async def test_a_port_that_is_taken_is_told_in_a_sentence(stack: AsyncExitStack) -> None:
    address = await serve(stack, GrpcRpc(), Node())
    with pytest.raises(ConfigError, match=f"cannot listen on {address}"):
        await GrpcRpc(address).listen(node=Node(), zone="default").start()


async def test_peers_are_told_the_advertised_host(stack: AsyncExitStack) -> None:
    address = await serve(stack, GrpcRpc("0.0.0.0:0", advertise="gw-1.internal"), Node())
    host, _, port = address.rpartition(":")
    assert host == "gw-1.internal"
    assert int(port) > 0


async def test_without_a_key_a_random_one_is_made_for_each() -> None:
    assert GrpcRpc().proof != GrpcRpc().proof
    assert GrpcRpc(cluster_key="secret").proof == GrpcRpc(cluster_key="secret").proof


async def test_a_key_of_any_characters_opens(stack: AsyncExitStack) -> None:
    node, rpc = Node(), GrpcRpc(cluster_key="sécret\n\0 密钥")
    peers = rpc.peers()
    stack.push_async_callback(peers.close)
    await peers.poke(await serve(stack, rpc, node), [])
    assert node.asked == 1


# ── loops ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_it_runs_on_either_loop_one_after_the_other(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            node, rpc = Node(), GrpcRpc()
            address = await serve(stack, rpc, node)
            peers = rpc.peers()
            stack.push_async_callback(peers.close)
            await asyncio.gather(*(peers.deliver(address, CALL) for _ in range(100)))
            assert node.asked == 100

    for _ in range(2):
        with asyncio.Runner(loop_factory=make_loop, debug=True) as runner:
            runner.run(scenario())


def test_a_process_that_used_it_ends_cleanly_and_says_nothing() -> None:
    script = """
import asyncio
from push_core.rpc.grpc import GrpcRpc

class Node:
    async def report(self, receipts): ...

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine is not what is tested
    rpc = GrpcRpc()
    listener = rpc.listen(receipts=Node(), zone="default")
    await listener.start()
    peers = rpc.peers()
    await peers.report("default", [])
    await peers.close()
    await listener.stop(1)

asyncio.run(main(), debug=True)
"""
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
