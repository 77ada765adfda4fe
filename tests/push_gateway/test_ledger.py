"""Whatever devices do, the books balance: each push that a node accepted is told of exactly once, as acked or as lost."""

import asyncio
import random
from collections import Counter

import pytest

from push_core.rpc.port import ReceiptKind, Taking
from sdk_proto.wire.frames import Push
from sdk_proto.wire.subprotocols import JSON, PROTO
from tests.push_gateway.support import Client, Node, Site, offer

ENDS = {ReceiptKind.RECEIVED, ReceiptKind.LOST}


class Crowd:
    """Devices that come, go, ack and don't, by the dice."""

    def __init__(self, nodes: list[Node], dice: random.Random) -> None:
        self.nodes = nodes
        self.dice = dice
        self.clients: dict[str, Client] = {}
        self.attempts: Counter[str] = Counter()
        self.accepted: Counter[tuple[int, str]] = Counter()
        self.acking: list[asyncio.Task[None]] = []

    async def come(self, device: str) -> None:
        """Sometimes with the connection before still open, sometimes on the other node."""
        self.attempts[device] += 1
        node = self.dice.choice(self.nodes)
        client = await node.client(self.dice.choice([JSON, PROTO]))
        await client.hello(device, install=device, attempt=self.attempts[device], window=4)
        self.clients[device] = client
        self.acking.append(asyncio.create_task(self.ack_some(client)))

    async def ack_some(self, client: Client) -> None:
        async for message in client.socket:
            for frame in client.codec.decode_server(message.encode() if isinstance(message, str) else message):
                if isinstance(frame, Push) and self.dice.random() < 0.7:
                    await client.ack(frame.id)

    def vanish(self, device: str) -> None:
        client = self.clients.pop(device, None)
        if client is not None:
            client.socket.transport.abort()

    async def offer(self, devices: list[str]) -> None:
        sent = offer(*devices, ack_timeout_ms=self.dice.choice([20, 10_000]))
        for node in self.nodes:
            for device, taking in zip(devices, await node.deliver(sent), strict=True):
                if taking is Taking.ACCEPTED:
                    self.accepted[sent.id, device] += 1


@pytest.mark.parametrize("seed", range(4))
async def test_each_accepted_push_is_acked_or_lost_exactly_once(site: Site, seed: int) -> None:
    dice = random.Random(seed)
    crowd = Crowd([await site.node(written_after_s=0.01), await site.node()], dice)
    names = [f"d-{number}" for number in range(8)]
    for _ in range(150):
        match dice.randrange(6):
            case 0 | 1:
                await crowd.come(dice.choice(names))
            case 2:
                crowd.vanish(dice.choice(names))
            case 3:
                site.receipts.down = dice.random() < 0.3
            case _:
                await crowd.offer(dice.sample(names, 5))
    site.receipts.down = False
    for node in crowd.nodes:
        await node.gateway.stop(5.0)
    await asyncio.gather(*crowd.acking, return_exceptions=True)

    told = Counter((receipt.id, receipt.device) for receipt in site.receipts.taken if receipt.kind in ENDS)
    assert told == crowd.accepted
    assert {receipt.kind for receipt in site.receipts.taken} >= ENDS  # or the dice tested nothing
    for node in crowd.nodes:
        context = node.gateway._context
        assert not context.registry.connections
        assert not context.registry.joining
        assert len(context.wheel) == 0
        assert len(context.drains) == 0
        assert len(context.receipts) == 0
        assert not context.receipts._settled._by_device
        assert not context.receipts._tried._by_device
