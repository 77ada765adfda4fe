"""What a gateway's own code costs for a push and its ack: no sockets, no kernel, no second process.

    python -m bench.hot_path --json

Sessions are real ones whose transport throws away what is written. Deliver calls of `--batch` messages, a device each, go through the node as they come
from the wire (MessagePack); each device then answers with one masked frame that acks one id; receipts are reported to a stand-in as bytes.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any, cast

import jwt
import msgspec
import typer
import uvloop

from bench.gateway_neighbours import APP, SECRET, Dispatchers, Presence, Stores
from bench.machine import print_header, print_json
from push_core.adapters import Ports
from push_core.clock import Clock, wall_ms
from push_core.control.watch import ControlWatch
from push_core.ids import make_id
from push_core.metrics.null import NullMetrics
from push_core.rpc.inproc import InprocRpc
from push_core.rpc.port import Deliver, Offer, Receipt
from push_gateway.app import Gateway
from push_gateway.connection import Connection
from push_gateway.entrance import Entrance
from push_gateway.node import Node
from push_gateway.settings import GatewaySettings
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.frames import Ack, Hello
from sdk_proto.wire.subprotocols import JSON, PROTO

CODECS = {"json": JSON, "proto": PROTO}
METHOD = "thread CPU of one process; pushes of 200 bytes; the best of several rounds"
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Deliver).decode
MASK = b"\x01\x02\x03\x04"


class Nowhere(asyncio.Transport):
    """Takes what is written."""

    def write(self, data: Any) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        pass


class Reports(Dispatchers):
    async def report(self, receipts: Sequence[Receipt]) -> None:
        _encode(receipts)
        await super().report(receipts)


def masked(payload: bytes, *, text: bool) -> bytes:
    """A client's frame of less than 126 bytes."""
    head = bytes((0x81 if text else 0x82, 0x80 | len(payload))) if len(payload) < 126 else None
    if head is None:
        head = bytes((0x81 if text else 0x82, 0xFE, len(payload) >> 8, len(payload) & 255))
    return head + MASK + bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))


async def measure(codec: Codec, sessions: int, batch: int, rounds: int) -> dict[str, float]:
    stores, dispatchers, rpc = Stores(), Reports(), InprocRpc()
    nothing = cast(Any, None)
    ports = Ports(
        messages=cast(Any, stores),
        devices=cast(Any, stores),
        control=cast(ControlWatch, stores),
        presence=Presence(),
        claims=nothing,
        limits=nothing,
        queues=nothing,
        trail=nothing,
        metrics=NullMetrics(),
        rpc=rpc,
    )
    listener = rpc.listen(receipts=dispatchers, zone="default")
    await listener.start()
    gateway = Gateway(GatewaySettings(port=0), ports, Clock())
    await gateway.start()
    context = gateway._context
    node = Node(context)
    upgrade = (
        b"GET /v1/connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "
        + codec.subprotocol.encode()
        + b"\r\n\r\n"
    )
    exp = int(time.time()) + 86_400
    transports = []
    for number in range(sessions):
        name = f"d-{number}"
        token = jwt.encode({"iss": APP, "sub": name, "exp": exp}, SECRET)
        transport = Nowhere()
        entrance = Entrance(context)
        entrance.connection_made(transport)
        entrance.data_received(upgrade)
        hello = codec.encode([Hello(app=APP, device=name, token=token, versions=(1,), install="i" * 16, attempt=1)])
        entrance.data_received(masked(hello, text=not codec.binary))
        transports.append(transport)
    while gateway.sessions < sessions:
        await asyncio.sleep(0.01)
    connections = [cast(Connection, transport.protocol) for transport in transports]
    issued = 0
    best: dict[str, float] = {"deliver_us": 1e9, "ack_us": 1e9, "receipts_us": 1e9}
    for _ in range(rounds):
        spent = dict.fromkeys(best, 0.0)
        pushes = 0
        for first in range(0, sessions, batch):
            offers, acks = [], []
            now = wall_ms()
            for number in range(first, min(sessions, first + batch)):
                issued += 1
                message_id = make_id(now, issued % 256, 0, issued // 256 % 128)
                push = (
                    b'{"id":"%d","kind":"notification","title":"Order 9 is ready","body":"%s","data":{"order":"9","shop":"3"},'
                    b'"priority":"normal","sent":%d,"expires":%d}' % (message_id, b"x" * 60, now, now + 60_000)
                )
                offers.append(
                    Offer(
                        id=message_id,
                        app=APP,
                        devices=[f"d-{number}"],
                        push=push,
                        expires=now + 60_000,
                        ack_timeout_ms=10_000,
                    )
                )
                acks.append((connections[number], masked(codec.encode([Ack((message_id,))]), text=not codec.binary)))
            call = _encode(Deliver(gateway.incarnation, now + 5_000, offers))
            began = time.thread_time()
            await node.deliver(_decode(call))
            delivered = time.thread_time()
            for connection, data in acks:
                connection.data_received(data)
            acked = time.thread_time()
            await context.receipts.flush(1.0)
            context.receipts._hurry.clear()
            spent["deliver_us"] += delivered - began
            spent["ack_us"] += acked - delivered
            spent["receipts_us"] += time.thread_time() - acked
            pushes += len(offers)
        for name, seconds in spent.items():
            best[name] = min(best[name], seconds * 1e6 / pushes)
    await gateway.stop(0.5)
    await listener.stop(0.0)
    best["push_ack_us"] = sum(best.values())
    return {name: round(value, 2) for name, value in best.items()}


def main(
    sessions: Annotated[int, typer.Option(min=1, help="Sessions.")] = 1_000,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Messages in a Deliver call.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the best counts.")] = 20,
    codec: Annotated[str, typer.Option(help="json, proto or both.")] = "both",
    as_json: Annotated[bool, typer.Option("--json", help="Only the result on stdout.")] = False,
) -> None:
    """Measure a gateway's own code."""
    settings = {"sessions": sessions, "batch": batch, "rounds": rounds}
    header = print_header("hot_path", METHOD, settings, as_json=as_json)
    chosen = list(CODECS) if codec == "both" else [codec]
    print_json(
        {name: uvloop.run(measure(CODECS[name], sessions, batch, rounds)) for name in chosen}
        | {"machine": header.to_dict()}
    )


if __name__ == "__main__":
    typer.run(main)
