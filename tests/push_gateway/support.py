"""A gateway on embedded stores and a real socket, a receipts service that does what a test says, and a stock WebSocket client."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import jwt
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from push_core.adapters import Ports, StoreSettings, open_ports
from push_core.clock import Clock
from push_core.errors import Unavailable
from push_core.ids import make_id
from push_core.lifecycle import State
from push_core.messages.port import Change, InboxRow, NewMessage
from push_core.models import App, Priority
from push_core.rpc.port import Deliver, Listener, Offer, Receipt, ReceiptKind, Taking
from push_gateway.app import Gateway
from push_gateway.settings import GatewaySettings
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import JSON
from tests.support.certificates import Files
from tests.support.envelopes import sample

APP = "courier"
SECRET = "device-secret"
STORES = StoreSettings(messages="sqlite://", devices="sqlite://", metrics="memory://", rpc="inproc://")
QUICK = GatewaySettings(
    port=0,
    wheel_resolution_s=0.01,
    receipts_linger_s=0.0,
    retry_min_s=0.001,
    retry_max_s=0.01,
    drain_s=0.0,
    stop_retry_ms=0,
    token_spread_s=0.0,
)
_sequence = itertools.count()


def token(device: str, app: str = APP, secret: str = SECRET, *, ttl_s: int = 3_600, **claims: Any) -> str:
    now_s = Clock().wall_ms() // 1_000
    # PyJWT warns of short secrets, which apps may have; signing them is the test's affair
    key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    key.check_key_length = lambda key: None  # type: ignore[method-assign]
    maker = jwt.PyJWS(algorithms=[])
    maker.register_algorithm("HS256", key)
    body = msgspec.json.encode({"iss": app, "sub": device, "exp": now_s + ttl_s} | claims)
    return maker.encode(body, secret, algorithm="HS256")


def new_id(shard: int = 0) -> int:
    return make_id(Clock().wall_ms(), shard, 1, next(_sequence) % 128)


def push_json(message_id: int, **fields: Any) -> bytes:
    now = Clock().wall_ms()
    body = {"id": str(message_id), "kind": "notification", "title": "hello"} | fields
    return msgspec.json.encode(body | {"priority": "normal", "sent": now, "expires": now + 60_000})


def offer(*devices: str, message_id: int | None = None, app: str = APP, title: str = "hello", **fields: Any) -> Offer:
    message_id = new_id() if message_id is None else message_id
    usual: dict[str, Any] = {
        "push": push_json(message_id, title=title),
        "expires": Clock().wall_ms() + 60_000,
        "ack_timeout_ms": 10_000,
    }
    return Offer(id=message_id, app=app, devices=list(devices), **(usual | fields))


class FakeReceipts:
    """A dispatcher's receipts service: keeps what it is told; refuses while `down`."""

    def __init__(self) -> None:
        self.taken: list[Receipt] = []
        self.tries = 0
        self.down = False
        self._news = asyncio.Condition()

    async def report(self, receipts: Sequence[Receipt]) -> None:
        self.tries += 1
        async with self._news:
            self._news.notify_all()
            if self.down:
                raise Unavailable("the receipts service is down")
            self.taken += receipts

    async def until(self, enough: Callable[["FakeReceipts"], bool]) -> None:
        async with self._news:
            await self._news.wait_for(lambda: enough(self))

    async def of(self, message_id: int, kind: ReceiptKind) -> Receipt:
        """The receipt of this kind; waits for it."""
        found: list[Receipt] = []

        def look(_: FakeReceipts) -> bool:
            found[:] = [receipt for receipt in self.taken if (receipt.id, receipt.kind) == (message_id, kind)]
            return bool(found)

        await self.until(look)
        return found[0]

    def kinds(self, message_id: int) -> list[ReceiptKind]:
        return [receipt.kind for receipt in self.taken if receipt.id == message_id]


class Client:
    """A device made of a stock WebSocket client and a codec, which acks when told to."""

    def __init__(self, socket: ClientConnection, codec: Codec) -> None:
        self.socket = socket
        self.codec = codec
        self._frames: list[Any] = []

    async def send(self, *frames: f.ClientFrame) -> None:
        await self.socket.send(self.codec.encode(frames), text=not self.codec.binary)

    async def hello(self, device: str = "d-1", app: str = APP, **fields: Any) -> None:
        fields = {"token": token(device, app), "versions": (1,)} | fields
        await self.send(f.Hello(app=app, device=device, **fields))

    async def sign_in(self, device: str = "d-1", app: str = APP, **fields: Any) -> f.Welcome:
        await self.hello(device, app, **fields)
        welcome = await self.receive()
        assert isinstance(welcome, f.Welcome), welcome
        return welcome

    async def receive(self) -> Any:
        while not self._frames:
            self._frames += self.codec.decode_server(await self.socket.recv(decode=False))
        return self._frames.pop(0)

    async def push(self) -> f.Push:
        frame = await self.receive()
        assert isinstance(frame, f.Push), frame
        return frame

    async def ack(self, *ids: int, status: str = "received") -> None:
        await self.send(f.Ack(ids, status))

    async def pong(self) -> f.Pong:
        """A round trip: whatever the server wrote before has come."""
        await self.send(f.Ping())
        frame = await self.receive()
        assert isinstance(frame, f.Pong), frame
        return frame

    async def closed(self) -> int:
        """The close code; a `bye` says the same."""
        bye = None
        try:
            while True:
                bye = await self.receive()
        except ConnectionClosed:
            pass
        code = self.socket.close_code
        assert code is not None
        if isinstance(bye, f.Bye):
            assert bye.code == code
        return code


@dataclass
class Node:
    gateway: Gateway
    ports: Ports
    receipts: FakeReceipts
    tls: ssl.SSLContext | None = None
    """What its devices need to believe it."""
    clients: list[Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.gateway.url

    async def client(self, codec: Codec = JSON, **options: Any) -> Client:
        usual: dict[str, Any] = {"subprotocols": [Subprotocol(codec.subprotocol)], "compression": None, "proxy": None}
        if self.tls is not None:
            usual["ssl"] = self.tls
        client = Client(await connect(self.url, ping_interval=None, **(usual | options)), codec)
        self.clients.append(client)
        return client

    async def device(self, device: str = "d-1", codec: Codec = JSON, **hello: Any) -> Client:
        client = await self.client(codec)
        await client.sign_in(device, **hello)
        return client

    async def deliver(self, *offers: Offer, **fields: Any) -> list[Taking]:
        call = Deliver(
            fields.get("incarnation", self.gateway.incarnation),
            fields.get("deadline", Clock().wall_ms() + 5_000),
            list(offers),
        )
        delivered = await self.ports.rpc.peers().deliver(self.gateway.address, call)
        return [Taking(taking) for taking in delivered.takings]

    async def located(self, device: str = "d-1", app: str = APP) -> str | None:
        """The incarnation that presence names."""
        (found,) = await self.ports.presence.locate([(app, device)])
        return None if found is None else found.route.incarnation

    async def store(self, device: str, *, priority: Priority = Priority.NORMAL, again: bool = False) -> int:
        """A message that waits in the device's inbox."""
        now = Clock().wall_ms()
        message_id = new_id()
        envelope = sample(message_id, device, app=APP, sent=now, push=push_json(message_id), priority=priority)
        await self.ports.messages.commit([NewMessage(envelope=envelope)], now=now)
        row = InboxRow(
            id=message_id,
            priority=priority.order,
            expires=envelope.expires,
            push=envelope.push,
            ack_timeout_ms=10_000,
            again=again,
            via_vendor=False,
        )
        change = Change(id=message_id, app=APP, device=device, to=State.WAITING, at=now, inbox=row)
        await self.ports.messages.apply([change], now=now)
        return message_id

    async def delivered(self, device: str, *ids: int) -> None:
        """What a dispatcher does with the receipts of these: the inbox loses them."""
        now = Clock().wall_ms()
        changes = [Change(id=each, app=APP, device=device, to=State.DELIVERED, at=now) for each in ids]
        await self.ports.messages.apply(changes, now=now)


class Site:
    """Stores, a receipts service and as many gateways as a test starts."""

    def __init__(self, ports: Ports, receipts: FakeReceipts, listener: Listener) -> None:
        self.ports = ports
        self.receipts = receipts
        self._listener = listener
        self.nodes: list[Node] = []

    @classmethod
    async def open(cls, stores: StoreSettings = STORES) -> Self:
        ports = await open_ports(stores, clock=Clock(), data=None)
        await ports.devices.put_apps([App(name=APP, device_secrets=(SECRET,))])
        receipts = FakeReceipts()
        listener = ports.rpc.listen(receipts=receipts, zone="default")
        await listener.start()
        return cls(ports, receipts, listener)

    async def node(self, *, tls: Files | None = None, **settings: Any) -> Node:
        """With `tls` the gateway's certificate, it speaks TLS alone."""
        if tls is not None:
            settings = {"tls_cert": tls.cert, "tls_key": tls.key} | settings
        gateway = Gateway(replace(QUICK, **settings), self.ports, Clock())
        await gateway.start()
        node = Node(gateway, self.ports, self.receipts, None if tls is None else tls.client())
        self.nodes.append(node)
        return node

    async def close(self) -> None:
        for node in self.nodes:
            for client in node.clients:
                client.socket.transport.abort()
            await node.gateway.stop(2.0)
        await self._listener.stop(0.0)
        await self.ports.close()


@asynccontextmanager
async def open_site(stores: StoreSettings = STORES) -> AsyncIterator[Site]:
    site = await Site.open(stores)
    try:
        yield site
    finally:
        await site.close()
