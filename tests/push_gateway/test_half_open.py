"""Peers that vanish, or end half, on real sockets: what the kernel holds for them is gone in time, too.

A peer vanishes in a network namespace of its own, whose cable is pulled: nothing of it arrives any more, not even a reset.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from push_core.rpc.port import ReceiptKind
from sdk_proto.wire import frames as f
from sdk_proto.wire.subprotocols import JSON
from tests.push_gateway.support import APP, Node, Site, offer, token
from tests.push_gateway.test_handshake import request

STATES = {
    1: "ESTABLISHED",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    11: "CLOSING",
}
LINGER_S = 0.3
CLOSE = Frame(Opcode.CLOSE, (1_000).to_bytes(2, "big")).serialize(mask=True)


def masked(*frames: f.ClientFrame) -> bytes:
    return Frame(Opcode.TEXT, JSON.encode(frames)).serialize(mask=True)


def hello(**fields: int) -> bytes:
    return masked(f.Hello(app=APP, device="d-1", token=token("d-1"), versions=(1,), **fields))  # type: ignore[arg-type]


def port_of(node: Node) -> int:
    return int(node.url.rpartition(":")[2].partition("/")[0])


def held(port: int) -> list[str]:
    """States of the kernel's connections at our port, as `ss` would list them; TIME_WAIT is how every proper close ends."""
    states = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if int(local.partition(":")[2], 16) == port and int(state, 16) not in (6, 10):
            states.append(STATES.get(int(state, 16), state))
    return states


async def none_held(port: int, within_s: float) -> None:
    end = asyncio.get_running_loop().time() + within_s
    while held(port):
        assert asyncio.get_running_loop().time() < end, held(port)
        await asyncio.sleep(0.02)


async def sign_in(port: int, host: str = "127.0.0.1", **fields: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    peer.setblocking(False)
    await loop.sock_connect(peer, (host, port))
    await loop.sock_sendall(peer, request() + hello(**fields))
    data = b""
    while b"welcome" not in data:
        data += await loop.sock_recv(peer, 65_536)
    return peer


linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's table of connections is Linux's")


@linux
async def test_a_peer_that_ends_and_reads_nothing_is_not_held_in_close_wait(site: Site) -> None:
    node = await site.node(close_linger_s=LINGER_S, window_max=256, unsent_limit_bytes=1 << 24)
    port, loop = port_of(node), asyncio.get_running_loop()
    peer = await sign_in(port, window=256)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    (connection,) = node.gateway._context.registry.signed.values()
    while connection._transport.get_write_buffer_size() < 1 << 20:  # more than the kernel takes
        await node.deliver(offer("d-1", title="x" * 60_000))
    peer.shutdown(socket.SHUT_WR)
    ended = loop.time()
    while node.gateway._context.registry.signed:
        await asyncio.sleep(0)
    assert loop.time() - ended < LINGER_S  # the session is over before its descriptor is
    await none_held(port, LINGER_S * 10)
    assert not node.gateway._context.registry.connections
    peer.close()


@linux
@pytest.mark.parametrize("answers", [False, True], ids=["mute", "answering"])
async def test_a_peer_that_never_closes_is_not_held_in_fin_wait(site: Site, *, answers: bool) -> None:
    """We close; it answers with a close frame, or doesn't; its socket stays open."""
    node = await site.node(close_linger_s=LINGER_S)
    port, loop = port_of(node), asyncio.get_running_loop()
    peer = await sign_in(port)
    await loop.sock_sendall(peer, masked(f.Hello(app=APP, device="d-1", token="t", versions=(1,))))  # twice: 4300
    data = b""
    while b"hello came twice" not in data:
        data += await loop.sock_recv(peer, 65_536)
    if answers:
        await loop.sock_sendall(peer, CLOSE)
    # After a proper close the kernel waits for its FIN in whole seconds, rounded up (TCP_LINGER2).
    await none_held(port, 10 * LINGER_S if not answers else 8.0)
    assert not node.gateway._context.registry.connections
    peer.close()


@linux
async def test_connections_have_the_kernel_s_bounds(site: Site) -> None:
    node = await site.node(unacked_timeout_s=12.5, close_linger_s=2.5)
    peer = await sign_in(port_of(node))
    (connection,) = node.gateway._context.registry.signed.values()
    taken = connection._transport.get_extra_info("socket")
    assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 12_500
    assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2) == 3
    assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0  # each probe would wake a radio
    peer.close()


# ── a cable that can be pulled ──────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Cable:
    """A namespace beside ours. `host` is our end, for the gateway to listen on."""

    name: str
    host: str
    device: str

    def pull(self) -> None:
        """Nothing arrives any more, in neither direction, and nobody is told: packets go into an interface that throws them away."""
        run("ip", "netns", "exec", self.name, "ip", "link", "set", "eth0", "down")

    def run_peer(self, port: int, heartbeat: int) -> subprocess.Popen[bytes]:
        """A device in the namespace: signs in, says that it did, and then nothing."""
        script = (
            "import socket, sys, time\n"
            f"peer = socket.create_connection(({self.host!r}, {port}), 5)\n"
            "peer.sendall(sys.stdin.buffer.read())\n"
            "data = b''\n"
            "while b'welcome' not in data: data += peer.recv(65536)\n"
            "print('in', flush=True)\n"
            "time.sleep(60)\n"
        )
        peer = subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert peer.stdin is not None
        peer.stdin.write(request() + hello(heartbeat=heartbeat))
        peer.stdin.close()
        return peer


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=10)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace needs root and iproute2")
    name = f"taco-{uuid.uuid4().hex[:8]}"
    made = Cable(name, f"10.{199}.{os.getpid() % 250}.1", f"t{name[-8:]}")
    try:
        run("ip", "netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        run("ip", "link", "add", made.device, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", f"{made.host}/24", "dev", made.device)
        run("ip", "link", "set", made.device, "up")
        run("ip", "netns", "exec", name, "ip", "addr", "add", made.host[:-1] + "2/24", "dev", "eth0")
        run("ip", "netns", "exec", name, "ip", "link", "set", "eth0", "up")
        yield made
    finally:
        with suppress(subprocess.CalledProcessError):
            run("ip", "link", "del", made.device)
        run("ip", "netns", "del", name)


async def test_a_peer_that_vanished_while_nothing_was_on_the_way_is_closed_within_grace(
    site: Site, cable: Cable
) -> None:
    node = await site.node(
        host=cable.host,
        close_linger_s=LINGER_S,
        unacked_timeout_s=30.0,
        heartbeat_min_s=1,
        heartbeat_max_s=1,
        heartbeat_default_s=1,
    )
    loop, port = asyncio.get_running_loop(), port_of(node)
    peer = await asyncio.to_thread(cable.run_peer, port, 1)
    try:
        assert peer.stdout is not None
        assert await asyncio.to_thread(peer.stdout.readline) == b"in\n"
        began = loop.time()
        await asyncio.to_thread(cable.pull)
        while node.gateway._context.registry.signed:
            await asyncio.sleep(0.01)
        assert loop.time() - began < 1.5 + 1.0
        await none_held(port, LINGER_S * 10)
        assert not node.gateway._context.registry.connections
    finally:
        peer.kill()
        peer.wait()
        peer.stdout.close() if peer.stdout else None


async def test_a_peer_that_vanished_with_a_push_on_the_way_is_given_up_before_its_heartbeat(
    site: Site, cable: Cable
) -> None:
    node = await site.node(host=cable.host, close_linger_s=LINGER_S, unacked_timeout_s=1.0)
    port = port_of(node)
    peer = await asyncio.to_thread(cable.run_peer, port, 600)
    try:
        assert peer.stdout is not None
        assert await asyncio.to_thread(peer.stdout.readline) == b"in\n"
        await asyncio.to_thread(cable.pull)
        pushed = offer("d-1")
        await node.deliver(pushed)
        async with asyncio.timeout(20):  # a heartbeat of ten minutes would end after fifteen
            lost = await node.receipts.of(pushed.id, ReceiptKind.LOST)
        assert lost.device == "d-1"
        await none_held(port, 5.0)
        assert not node.gateway._context.registry.connections
    finally:
        peer.kill()
        peer.wait()
        peer.stdout.close() if peer.stdout else None
