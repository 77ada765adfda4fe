"""Stand-ins for what a gateway asks while it is measured: they answer at once, and keep nothing of a device, so that what the process uses is
the gateway's."""

from collections.abc import Sequence

from push_core.messages.port import InboxAsk, InboxPage
from push_core.models import App, Device, DeviceKey
from push_core.presence.port import Located, Node, Route, SignIn, Verdict
from push_core.rpc.port import Receipt, ReceiptKind
from push_core.shards import ShardMap

APP = "bench"
SECRET = "a secret of the benchmark, thirty-two bytes"


class Stores:
    """The message store, the device store and control."""

    def __init__(self) -> None:
        self.shard_map = ShardMap.single()

    def subscribe(self, key: str, fn: object) -> None:
        pass

    def value(self, key: str, default: object = None) -> object:
        del key
        return default

    async def ping(self) -> None:
        pass

    async def apps(self, names: Sequence[str]) -> list[App | None]:
        return [App(name=name, device_secrets=(SECRET,)) for name in names]

    async def get(self, keys: Sequence[DeviceKey]) -> list[Device | None]:
        return [None] * len(keys)

    async def inbox(self, asks: Sequence[InboxAsk], **_: int) -> list[InboxPage]:
        return [InboxPage([], 0)] * len(asks)

    async def waiting(self, keys: Sequence[DeviceKey]) -> list[int]:
        return [0] * len(keys)


class Presence:
    """Everybody wins, and is where it says: the routes are Redis's memory, not a gateway's."""

    def __init__(self) -> None:
        self._node: Node | None = None

    async def lease_node(self, node: Node, ttl_s: float) -> bool:
        del ttl_s
        self._node = node
        return True

    async def release_node(self, incarnation: str) -> None:
        del incarnation
        self._node = None

    async def nodes(self) -> list[Node]:
        return [self._node] if self._node is not None else []

    async def sign_in(self, routes: Sequence[Route]) -> list[SignIn]:
        return [SignIn(Verdict.WON)] * len(routes)

    async def register_again(self, routes: Sequence[Route]) -> list[bool]:
        return [True] * len(routes)

    async def sign_out(self, routes: Sequence[Route]) -> list[bool]:
        return [True] * len(routes)

    async def locate(self, keys: Sequence[DeviceKey]) -> list[Located | None]:
        node = self._node
        if node is None:
            return [None] * len(keys)
        return [
            Located(Route(app=app, device=device, incarnation=node.incarnation, epoch=0), node) for app, device in keys
        ]

    async def sweep(self, limit: int = 1_000) -> int:
        del limit
        return 0

    async def ping(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Dispatchers:
    """Take receipts and count them."""

    def __init__(self) -> None:
        self.acked = 0
        self.others = 0  # written, missed, lost, …

    async def report(self, receipts: Sequence[Receipt]) -> None:
        acked = sum(receipt.kind is ReceiptKind.RECEIVED for receipt in receipts)
        self.acked += acked
        self.others += len(receipts) - acked
