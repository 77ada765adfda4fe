"""Who may call whom: certificates, versions, addresses that presence names; and that connections end with their nodes."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from grpc import aio

from push_core.errors import DeadlineExceeded, Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.rpc.grpc import GrpcRpc
from push_core.rpc.versions import Spoken
from tests.push_core.rpc.test_grpc import CALL, RECEIPT, Node, serve
from tests.support.certificates import Authority


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def ask(stack: AsyncExitStack, caller: GrpcRpc, address: str) -> None:
    peers = caller.peers()
    stack.push_async_callback(peers.close)
    await peers.deliver(address, CALL, timeout_s=2)


async def refused(stack: AsyncExitStack, caller: GrpcRpc, address: str) -> str:
    """The sentence of a call that was certainly not done."""
    with pytest.raises(Unavailable) as caught:
        await ask(stack, caller, address)
    assert not isinstance(caught.value, DeadlineExceeded)
    return str(caught.value)


# ── certificates ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_programs_with_certificates_of_one_authority_reach_each_other_without_a_key(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    authority, node = Authority(tmp_path), Node()
    address = await serve(stack, GrpcRpc(certificates=authority.issue("127.0.0.1", file="a").load()), node)
    await ask(stack, GrpcRpc(certificates=authority.issue("127.0.0.1", file="b").load()), address)
    assert node.asked == 1


async def test_a_key_that_is_set_is_asked_for_besides_the_certificate(stack: AsyncExitStack, tmp_path: Path) -> None:
    files, node = Authority(tmp_path).issue("127.0.0.1"), Node()
    address = await serve(stack, GrpcRpc(cluster_key="secret", certificates=files.load()), node)
    assert "key does not match" in await refused(stack, GrpcRpc(certificates=files.load()), address)
    await ask(stack, GrpcRpc(cluster_key="secret", certificates=files.load()), address)
    assert node.asked == 1


async def test_a_caller_without_a_certificate_or_with_one_of_another_authority_gets_nowhere(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    node = Node()
    address = await serve(stack, GrpcRpc(certificates=Authority(tmp_path / "a").issue("127.0.0.1").load()), node)
    stranger = Authority(tmp_path / "b", "stranger").issue("127.0.0.1").load()
    assert "certificates" in await refused(stack, GrpcRpc(certificates=stranger), address)
    await refused(stack, GrpcRpc(cluster_key="secret"), address)
    assert node.asked == 0


async def test_a_peer_whose_certificate_is_not_for_its_address_is_not_told_anything(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    authority, node = Authority(tmp_path), Node()
    elsewhere = authority.issue("10.9.9.9", "gw.example", file="a")
    address = await serve(stack, GrpcRpc(certificates=elsewhere.load()), node)
    caller = authority.issue("127.0.0.1", file="b")
    assert "certificates" in await refused(stack, GrpcRpc(certificates=caller.load()), address)
    assert node.asked == 0
    await ask(
        stack, GrpcRpc(certificates=caller.load("gw.example")), address
    )  # the name that the operator says they carry
    assert node.asked == 1


# ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("caller", "server", "works"),
    [
        (Spoken(1, 1), Spoken(1, 1), True),
        (Spoken(1, 1), Spoken(2, 1), True),
        (Spoken(2, 1), Spoken(1, 1), True),
        (Spoken(3, 2), Spoken(1, 1), False),
        (Spoken(1, 1), Spoken(3, 2), False),
        (Spoken(3, 2), Spoken(2, 1), True),
    ],
)
async def test_releases_whose_windows_meet_work_together_and_others_are_refused_before_anything_is_done(
    stack: AsyncExitStack, caller: Spoken, server: Spoken, works: bool
) -> None:
    node, metrics = Node(), MemoryMetrics()
    address = await serve(stack, GrpcRpc(cluster_key="k", spoken=server, metrics=metrics), node)
    calling = GrpcRpc(cluster_key="k", spoken=caller)
    if works:
        await ask(stack, calling, address)
        assert node.asked == 1
    else:
        said = await refused(stack, calling, address)
        assert f"the caller speaks version {caller.version} " in said
        assert f"this program {server.version} " in said
        assert node.asked == 0
        assert metrics.counted(Metric.RPC_REFUSED, reason="version") == 1


async def test_a_call_that_says_no_version_is_refused(stack: AsyncExitStack) -> None:
    node, rpc = Node(), GrpcRpc(cluster_key="k")
    address = await serve(stack, rpc, node)
    async with aio.insecure_channel(address) as channel:
        with pytest.raises(aio.AioRpcError, match="no version"):
            await channel.unary_unary("/taco.internal.v1.Node/Poke", None, None)(
                b"\x90", timeout=5, metadata=(("taco-cluster-key", rpc.proof),)
            )
    assert node.asked == 0


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_address_outside_the_networks_of_peers_is_not_dialled(stack: AsyncExitStack) -> None:
    metrics = MemoryMetrics()
    caller = GrpcRpc(cluster_key="k", metrics=metrics)
    for address in ("192.0.2.1:7000", "evil.example:7000", "10.0.0.1:7000"):
        assert "rpc_allowed_networks" in await refused(stack, caller, address)
    assert metrics.counted(Metric.RPC_REFUSED, reason="address") == 3


async def test_an_address_that_the_operator_names_is_dialled_wherever_it_is(stack: AsyncExitStack) -> None:
    node = Node()
    address = await serve(stack, GrpcRpc(cluster_key="k"), node)
    caller = GrpcRpc(cluster_key="k", networks=["10.0.0.0/8"], receipts={"west": (address,)})
    peers = caller.peers()
    stack.push_async_callback(peers.close)
    await peers.report("west", [RECEIPT])
    assert node.asked == 1
    caller.zones.find("default", [address.replace("127.0.0.1", "127.0.0.2")])  # what presence says, nobody vouches for
    with pytest.raises(Unavailable, match="not dialled"):
        await peers.report("default", [RECEIPT])


# ── churn ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.timeout(120)
async def test_a_thousand_nodes_that_come_and_go_leave_no_connection_task_or_descriptor(stack: AsyncExitStack) -> None:
    rpc = GrpcRpc(cluster_key="k")
    peers = rpc.peers()
    stack.push_async_callback(peers.close)

    async def node_lives() -> None:
        listener = rpc.listen(node=Node(), zone="default")
        await listener.start()
        await peers.deliver(listener.address, CALL)
        await listener.stop(0)
        await peers.forget(listener.address)

    async def settled(files: int) -> None:
        """gRPC closes in threads of its own, a moment later."""
        async with asyncio.timeout(20):
            while open_files() > files:
                await asyncio.sleep(0.05)

    for _ in range(10):  # what gRPC keeps for good is there after these
        await node_lives()
    await asyncio.sleep(0.2)
    files, tasks, threads = open_files(), len(asyncio.all_tasks()), threading.active_count()
    for _ in range(99):
        await asyncio.gather(*(node_lives() for _ in range(10)))
    await settled(files + 3)
    assert not peers._peers
    assert len(asyncio.all_tasks()) <= tasks
    assert threading.active_count() <= threads
