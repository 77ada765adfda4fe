"""The heart with its real shell: entrances and connections of thousands of peers, well-behaved and not, on transports made of memory.

A descriptor is a transport that was accepted and not lost yet. Whatever its peer does or stops doing, in whatever order, its time ends: by
the deadline of what it was about, and the linger of a close. Whoever behaves is not closed before it.
"""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from websockets.frames import Frame, Opcode

from push_core.adapters import open_ports
from push_core.rpc.port import Receipt, ReceiptKind
from push_gateway.app import Gateway
from push_gateway.connection import Connection
from push_gateway.context import Context
from push_gateway.entrance import Entrance
from push_gateway.prepared import PreparedPush
from sdk_proto.wire import frames as f
from sdk_proto.wire.server import Signed
from sdk_proto.wire.subprotocols import JSON
from tests.push_gateway.support import QUICK, STORES, offer
from tests.push_gateway.test_handshake import request
from tests.support.hand_clock import HandClock

STEP_S = 0.25
AT_ONCE = 3  # due entries handled before others have their turn: few, so that it happens
PEERS = 5_000
INTERVALS = (60, 240, 600)
SETTINGS = replace(QUICK, wheel_resolution_s=STEP_S, window_default=4, unsent_limit_bytes=4_096)


def masked(*frames: f.ClientFrame) -> bytes:
    return Frame(Opcode.TEXT, JSON.encode(frames)).serialize(mask=True)


REQUEST = request()
PINGS = {interval_s: masked(f.Ping(interval_s)) for interval_s in INTERVALS}
KEEPALIVE = Frame(Opcode.PING, b"").serialize(mask=True)
CLOSE = Frame(Opcode.CLOSE, (1_000).to_bytes(2, "big")).serialize(mask=True)
UNMASKED = Frame(Opcode.TEXT, b"{}").serialize(mask=False)


class Wire(asyncio.Transport):
    """One accepted socket. The peer takes what is written as long as it `reads`."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self.world = world
        self.protocol: Any = None
        self.reads = True
        self.unsent = 0
        self.high = 1 << 16
        self.paused = self.closing = self.lost = False
        self.waiting: list[bytes] = []

    # ── as asyncio has it ─────────────────────────────────────────────────────────────────────────────────────────────

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 5_000) if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or self.high

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        waiting, self.waiting = self.waiting, []
        for data in waiting:
            self.says(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.reads or self.closing:
            return
        below = self.unsent <= self.high
        self.unsent += len(data)
        if below and self.unsent > self.high:
            self.protocol.pause_writing()

    def write_eof(self) -> None:
        pass

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.unsent:
                self.world.losing.append(self)

    def abort(self) -> None:
        self.closing = True
        self.unsent = 0
        if self not in self.world.losing:
            self.world.losing.append(self)

    # ── the peer's side ───────────────────────────────────────────────────────────────────────────────────────────────

    def says(self, data: bytes) -> None:
        if self.lost or self.closing:
            return
        if self.paused:
            self.waiting.append(data)
        else:
            self.protocol.data_received(data)

    def ends(self) -> None:
        """FIN: a transport closes itself when its protocol wants nothing else."""
        if not (self.lost or self.closing or self.paused) and not self.protocol.eof_received():
            self.close()


class Peer:
    """`gone_by`: when its descriptor must be gone if nothing else happens. `innocent`: nothing that it did is a reason to close it sooner."""

    def __init__(self, world: "World", number: int) -> None:
        self.wire = Wire(world)
        self.number = number
        self.step = "accepted"
        self.innocent = True
        self.interval_s = 0
        self.pinged = 0.0
        self.deadline = world.now + SETTINGS.upgrade_timeout_s
        self.pushed: list[int] = []

    @property
    def gone_by(self) -> float:
        return self.deadline + SETTINGS.close_linger_s + 2 * STEP_S


class World:
    def __init__(self, gateway: Gateway, clock: HandClock, seed: int) -> None:
        self.context: Context = gateway._context
        self.clock = clock
        self.random = random.Random(seed)
        self.peers: list[Peer] = []
        self.losing: list[Wire] = []
        self.open: dict[Wire, Peer] = {}
        self.ended: list[int] = []  # pushes: acked, or lost with their connection
        self.signed_out = 0
        self.offered = 0
        context = self.context
        context.sign_ins = cast(Any, SimpleNamespace(submit=self._sign_in))
        context.sign_outs = cast(Any, SimpleNamespace(add=self._sign_out))
        context.receipts = cast(Any, self)
        context.drains = cast(Any, SimpleNamespace(forget=lambda _: None, settled=lambda *_: None))

    @property
    def now(self) -> float:
        return self.clock.mono

    def _sign_in(self, connection: Connection, hello: f.Hello) -> bool:
        """Most are welcomed at once, some in a while (as if presence was slow), and some never: theirs is the sign-in's own deadline."""
        for before in list(self.context.registry.of((hello.app, hello.device))):
            before.close(4007, sign_out=False)
        connection.identify((hello.app, hello.device), install="", attempt=0, since=0)
        connection.signed_in(ends_at=self.now + 1e6, pending=0)
        return True

    def add(self, receipt: Receipt) -> None:
        if receipt.kind in (ReceiptKind.LOST, ReceiptKind.RECEIVED):
            self.ended.append(receipt.id)

    def add_received(self, _: object, ids: Sequence[int], *__: object) -> None:
        self.ended += ids

    def settled(self, _: object) -> tuple[()]:
        return ()

    def _sign_out(self, _: object) -> None:
        self.signed_out += 1

    def accept(self) -> Peer:
        peer = Peer(self, len(self.peers))
        self.peers.append(peer)
        self.open[peer.wire] = peer
        peer.wire.protocol = Entrance(self.context)
        peer.wire.protocol.connection_made(peer.wire)
        return peer

    # ── what a peer may do ────────────────────────────────────────────────────────────────────────────────────────────

    def act(self, peer: Peer) -> None:
        wire, pick = peer.wire, self.random
        if wire.lost or wire.closing or peer.step == "silent" or not wire.protocol.is_open:
            return
        if pick.random() < 0.1:
            self.misbehave(peer)
        elif peer.step == "accepted":
            if pick.random() < 0.3:  # in pieces
                wire.says(REQUEST[:40])
                wire.says(REQUEST[40:])
            else:
                wire.says(REQUEST)
            peer.step, peer.deadline = "upgraded", self.now + SETTINGS.hello_timeout_s
        elif peer.step == "upgraded":
            peer.interval_s = pick.choice(INTERVALS)
            hello = f.Hello(app="a", device=f"d-{peer.number}", token="t", versions=(1,), heartbeat=peer.interval_s)
            wire.says(masked(hello))
            peer.step = "signed"
            self.heard(peer)
        else:
            match int(pick.random() * 5):
                case 0 | 1 if self.now - peer.pinged >= 30:  # more often is a flood
                    peer.interval_s = pick.choice(INTERVALS)
                    peer.pinged = self.now
                    cut = pick.choice((0, 5))  # half a frame is no sign of life, its end is
                    wire.says(PINGS[peer.interval_s][:cut])
                    wire.says(PINGS[peer.interval_s][cut:])
                    self.heard(peer)
                case 2:
                    self.push(peer)
                case 3 if peer.pushed:
                    wire.says(masked(f.Ack(tuple(peer.pushed))))
                    peer.pushed.clear()
                    self.heard(peer)
                case _:
                    wire.says(KEEPALIVE)
                    self.heard(peer)

    def misbehave(self, peer: Peer) -> None:
        wire, ended = peer.wire, peer.step != "accepted"
        peer.innocent = False
        match self.random.choice(
            ("drop", "fin", "fin unread", "close", "garbage", "flood", "deaf", "cut", "half-open")
        ):
            case "drop":
                wire.abort()
            case "fin":
                wire.ends()
                ended = True
            case "fin unread":  # CLOSE_WAIT, for as long as we want to send what nobody reads
                wire.reads = False
                wire.unsent += 10
                wire.ends()
                ended = True
            case "close":
                wire.says(CLOSE)
            case "garbage":
                wire.says(UNMASKED)
            case "flood":
                for _ in range(9):
                    wire.says(PINGS[60])
            case "deaf":
                wire.reads = False
                ended = False
            case "cut":
                wire.says(PINGS[60][:7])
                peer.step, ended = "silent", False
            case "half-open":
                peer.step, ended = "silent", False
        if ended:
            peer.deadline = min(peer.deadline, self.now)

    def heard(self, peer: Peer) -> None:
        peer.deadline = self.now + self.context.terms.heartbeat.grace * max(peer.interval_s, 60)

    def push(self, peer: Peer) -> None:
        connection = peer.wire.protocol
        if isinstance(connection, Connection) and len(peer.pushed) < 3:
            self.offered += 1
            given = offer(f"d-{peer.number}", message_id=self.offered)
            connection.offer(given, PreparedPush(given.push, again=False, via_vendor=False), self.now, self.clock.wall)
            peer.pushed.append(self.offered)

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def pass_time(self, seconds: float) -> None:
        self.lose()
        for _ in range(max(1, round(seconds / STEP_S))):
            self.clock.advance(STEP_S)
            while due := self.context.wheel.tick(self.now, AT_ONCE):
                for entry in due:
                    entry.on_due(self.now)
                self.act(self.random.choice(self.peers))  # between two slices the loop turns
                self.lose()
        for wire, peer in self.open.items():
            assert peer.gone_by > self.now - STEP_S, f"peer {peer.number} ({peer.step}) outlives its time"
            assert not wire.closing or wire.unsent, f"peer {peer.number}: closed and not lost"

    def lose(self) -> None:
        """The loop's next turn: protocols hear that their transports are gone."""
        while self.losing:
            losing, self.losing = self.losing, []
            for wire in losing:
                if not wire.lost:
                    wire.lost = wire.closing = True
                    peer = self.open.pop(wire)
                    early = self.now < peer.deadline
                    assert not (early and peer.innocent), f"peer {peer.number} ({peer.step}) is closed too early"
                    wire.protocol.connection_lost(None)
                    wire.protocol = None


def objects() -> int:
    gc.collect()
    return sum(type(each) in (Connection, Entrance, Signed, Wire) for each in gc.get_objects())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = HandClock()
    ports = await open_ports(STORES, clock=clock.clock(), data=None)
    gateway = Gateway(SETTINGS, ports, clock.clock())
    yield World(gateway, clock, seed=7)
    await gateway.stop(1.0)
    await ports.close()


async def test_no_descriptor_outlives_its_time_and_nobody_who_behaves_is_closed(world: World) -> None:
    before = objects()
    pick, registry = world.random, world.context.registry
    turns = 250
    for turn in range(turns):
        for _ in range(PEERS // (turns // 2) if turn < turns // 2 else 0):
            world.accept()
            for _ in range(pick.choice((0, 1, 2, 2, 2, 2, 2, 3))):
                world.act(world.peers[-1])
        for _ in range(60):
            world.act(pick.choice(world.peers))
        world.pass_time(STEP_S if pick.random() < 0.3 else pick.random() * 12)
        assert len(registry.connections) == len(world.open)
        if turn % 16 == 0:
            await asyncio.sleep(0)  # what was left for the next turn
    assert len(world.peers) >= PEERS - turns
    assert len(registry.signed) > PEERS / 20
    while world.open:  # nobody says anything any more
        world.pass_time(pick.random() * 10)
        await asyncio.sleep(0)
    assert len(world.context.wheel) == 0
    assert not registry.connections
    assert not registry.signed
    assert not registry.joining
    assert len(world.ended) == len(set(world.ended)) > PEERS / 20
    assert world.signed_out > PEERS / 20
    world.peers.clear()
    world.losing.clear()
    await asyncio.sleep(0)
    assert objects() == before
