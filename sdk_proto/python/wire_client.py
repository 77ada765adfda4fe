"""Many devices in one process at little cost: sign in, ack, keep alive, count. For tests, benchmarks and drills.

    fleet = Fleet("ws://127.0.0.1:8081/v1/connect", on_push=lambda device, push, is_new: …)
    device = await fleet.connect("courier", "d-1", token)      # signed in, or SignInRefused
    …
    await fleet.close()

Codec, session and acks are those of the SDK; the socket is `lean_socket.py`. Nothing is stored, nothing reconnects by itself: what a
device does next, and at which gateway (`device.connect(at=url)`), is the test's decision. Ids that a device has shown are kept for its
life, reconnects included.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sdk_proto.python.acks import Acks
from sdk_proto.python.lean_socket import LeanSocket
from sdk_proto.python.options import SDK
from sdk_proto.python.session import Event, Failed, Limits, Session
from sdk_proto.python.topics import Topics
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.frames import VERSION, Bye, Hello, Push, Recall, Welcome
from sdk_proto.wire.subprotocols import PROTO

TICK_S = 1.0  # how often a fleet looks for pings that are due
CLOSE_S = 2.0


class SignInRefused(ConnectionError):
    """There was no welcome: `code` is the close code, or None without one."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"sign-in refused ({code}): {reason}")
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class Counters:
    """Of a whole fleet, from its start."""

    signed_in: int = 0
    pushes: int = 0  # frames received, repeats included
    shown: int = 0  # ids new to their device
    repeats: int = 0  # pushes of an id that its device had shown: duplicates on the wire
    again: int = 0  # pushes marked `again`
    recalls: int = 0
    acked: int = 0  # ids acked, repeats included
    ended: Counter[int | None] = field(default_factory=Counter)  # connections by close code; None: lost without one


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway is: to dial, and to name in the upgrade request."""

    address: str
    port: int
    secure: bool
    host: str
    path: str

    @classmethod
    def of(cls, url: str) -> "Place":
        """Raises ValueError for what is no WebSocket address."""
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or parts.hostname is None:
            raise ValueError(f"not a WebSocket url: {url}")
        secure = parts.scheme == "wss"
        path = parts.path + (f"?{parts.query}" if parts.query else "") or "/"
        return cls(parts.hostname, parts.port or (443 if secure else 80), secure, parts.netloc, path)


PushSink = Callable[["Device", Push, bool], bool | None]
"""Called with each push and whether its id is new to the device. False: don't ack it (the device plays dead); else it is acked."""


class Device:
    """One device: its shown ids and its connection, if it has one."""

    __slots__ = (
        "_acks",
        "_end",
        "_fleet",
        "_session",
        "_socket",
        "_topics",
        "_welcome",
        "app",
        "attempt",
        "name",
        "shown",
        "token",
    )

    def __init__(self, fleet: "Fleet", app: str, name: str, token: str) -> None:
        self.app = app
        self.name = name
        self.token = token
        self.attempt = 0
        self.shown: set[int] = set()
        self._fleet = fleet
        self._acks = Acks()
        self._topics: Topics | None = None  # most devices have none
        self._session: Session | None = None
        self._socket: LeanSocket | None = None
        self._welcome: asyncio.Future[Welcome] | None = None
        self._end: asyncio.Future[tuple[int | None, str]] | None = None

    @property
    def is_online(self) -> bool:
        return self._session is not None and self._session.is_live

    async def connect(self, *, at: str | None = None, **hello: Any) -> Welcome:
        """Dial and sign in, at the fleet's gateway or another one; `hello` adds or replaces fields of the hello. Raises SignInRefused,
        OSError, or TimeoutError after the fleet's limits. An earlier connection is aborted."""
        self.abort()
        fleet = self._fleet
        place = fleet.place if at is None else Place.of(at)
        loop = asyncio.get_running_loop()
        self.attempt += 1
        fields: dict[str, Any] = {
            "app": self.app,
            "device": self.name,
            "token": self.token,
            "versions": (VERSION,),
            "install": f"wire-{self.name}"[:128],
            "attempt": self.attempt,
            "sdk": f"{SDK} wire",
        }
        session = Session(
            codec=fleet.codec,
            hello=Hello(**(fields | hello)),
            seen=(),  # repeats are counted here, so the session may not keep them to itself
            acks=self._acks,
            now=loop.time(),
            limits=fleet.limits,
            topics=self._topics,
        )
        self._welcome = loop.create_future()
        self._end = loop.create_future()
        self._session = session
        socket = LeanSocket(
            place.host,
            place.path,
            fleet.codec.subprotocol,
            binary=fleet.codec.binary,
            on_open=self._opened,
            on_messages=self._received,
            on_close=self._ended,
            on_lost=fleet.lost,
        )
        self._socket = socket
        welcome = self._welcome
        try:
            async with asyncio.timeout(fleet.limits.connect_s + fleet.limits.welcome_s):
                fleet.opening(socket)
                tls = fleet.tls if place.secure else None
                await loop.create_connection(lambda: socket, place.address, place.port, ssl=tls)
                return await welcome
        except BaseException:
            if self._socket is socket:
                self.abort()
            if not socket.is_open:
                fleet.lost(socket)
            raise

    def close(self) -> None:
        """Go offline with a close frame; acks that wait are sent first."""
        if self._session is not None and self._socket is not None:
            self._session.flush()
            self._send()
            self._socket.close()
            self._ended(1000, "closed by the device")

    def abort(self) -> None:
        """Go offline as a lost network would: acks that wait are not sent."""
        if self._socket is not None:
            self._socket.abort()
            self._ended(None, "aborted by the device")

    async def ended(self) -> tuple[int | None, str]:
        """Wait for the end of the connection: its close code and reason."""
        if self._end is None:
            raise RuntimeError("never connected")
        return await asyncio.shield(self._end)

    def ack(self, *ids: int, status: str = "received") -> None:
        """Ack or report by hand, at once."""
        if self._session is None or not self._session.is_live:
            raise ConnectionError("not signed in")
        for message_id in ids:
            self._acks.add(message_id, status, 0.0)
        self._fleet.counters.acked += len(ids)
        self._session.flush()
        self._send()

    def subscribe(self, *topics: str) -> None:
        """Now if it is online, and on each later connection."""
        self._topics = self._topics or Topics()
        frames = self._topics.want(topics)
        if self._session is not None:
            self._session.tell(frames)
            self._send()

    def ping(self) -> None:
        if self._session is not None:
            self._session.ping(asyncio.get_running_loop().time())
            self._send()

    def tick(self, now: float) -> None:
        if self._session is not None:
            self._handle(self._session.tick(now))
            self._send()

    def _opened(self) -> None:
        assert self._session is not None
        self._session.opened(asyncio.get_running_loop().time())
        self._send()

    def _received(self, messages: list[bytes]) -> None:
        session = self._session
        if session is None:
            return
        now = asyncio.get_running_loop().time()
        for message in messages:
            self._handle(session.receive(message, now))
        session.flush()  # what one read brought is acked with one frame
        self._send()

    def _handle(self, events: list[Event]) -> None:
        counters, sink = self._fleet.counters, self._fleet.on_push
        for event in events:
            if isinstance(event, Push):
                is_new = event.id not in self.shown
                counters.pushes += 1
                counters.again += event.again
                if sink is None or sink(self, event, is_new) is not False:
                    if is_new:
                        self.shown.add(event.id)
                        counters.shown += 1
                    else:
                        counters.repeats += 1
                    counters.acked += 1
                    self._acks.add(event.id, "received", 0.0)
            elif isinstance(event, Welcome):
                counters.signed_in += 1
                if self._welcome is not None and not self._welcome.done():
                    self._welcome.set_result(event)
            elif isinstance(event, Recall):
                counters.recalls += 1
                self.shown.add(event.id)
            elif isinstance(event, Bye):
                self._hang_up(event.code, event.reason)
            elif isinstance(event, Failed):
                self._hang_up(None, event.reason)

    def _send(self) -> None:
        if self._session is not None and self._socket is not None:
            for message in self._session.take_outgoing():
                self._socket.send(message)

    def _hang_up(self, code: int | None, reason: str) -> None:
        if self._socket is not None:
            self._socket.close()
        self._ended(code, reason)

    def _ended(self, code: int | None, reason: str) -> None:
        if self._session is None:
            return
        self._session = None
        self._socket = None
        self._fleet.counters.ended[code] += 1
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_exception(SignInRefused(code, reason))
            self._welcome.exception()  # nobody may be waiting for it any more
        if self._end is not None and not self._end.done():
            self._end.set_result((code, reason))


class Fleet:
    """Devices that share a gateway, a codec and counters."""

    def __init__(
        self,
        url: str,
        *,
        codec: Codec = PROTO,
        on_push: PushSink | None = None,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`url`: `ws://` or `wss://`, with `tls` or the system's certificates."""
        self.place = Place.of(url)
        self.codec = codec
        self.on_push = on_push
        self.tls = (tls or ssl.create_default_context()) if self.place.secure else tls
        self.limits = limits or Limits()
        self.counters = Counters()
        self.devices: list[Device] = []
        self.sockets: set[LeanSocket] = set()  # open ones
        self._all_lost = asyncio.Event()
        self._all_lost.set()
        self._timer: asyncio.TimerHandle | None = None

    def device(self, app: str, name: str, token: str) -> Device:
        """A device that is not connected yet."""
        device = Device(self, app, name, token)
        self.devices.append(device)
        if self._timer is None:
            self._tick()
        return device

    async def connect(self, app: str, name: str, token: str, **hello: Any) -> Device:
        """A device, signed in. Raises as `Device.connect` does."""
        device = self.device(app, name, token)
        await device.connect(**hello)
        return device

    async def close(self) -> None:
        """Every device goes offline; returns when their sockets are closed, at the latest after CLOSE_S."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for device in self.devices:
            device.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._all_lost.wait()
        except TimeoutError:
            for socket in list(self.sockets):
                socket.abort()
            await self._all_lost.wait()

    def opening(self, socket: LeanSocket) -> None:
        self.sockets.add(socket)
        self._all_lost.clear()

    def lost(self, socket: LeanSocket) -> None:
        self.sockets.discard(socket)
        if not self.sockets:
            self._all_lost.set()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for device in self.devices:
            device.tick(now)
        self._timer = loop.call_later(TICK_S, self._tick)
