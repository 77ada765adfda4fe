"""The frames of `taco.v1`, as values (PROTOCOL.md §3 and §4). Both codecs read and write these and nothing else.

Ids are ints here and strings in JSON. `data` and `body` of calls are JSON kept as it came (`msgspec.Raw`), never parsed
by the server. Times are Unix milliseconds of the server's clock; heartbeat values are seconds.
"""

from typing import Any

import msgspec

VERSION = 1
SUBPROTOCOL_JSON = "taco.v1+json"
SUBPROTOCOL_PROTO = "taco.v1+proto"
MAX_FRAME = 65_536
DEFAULT_WINDOW = 32
MAX_ID = (1 << 63) - 1
MAX_NUMBER = (1 << 53) - 1  # of every other number: what JavaScript holds exactly
MAX_ACK_IDS = 512  # in one ack
MAX_CLIENT_FRAMES = 256  # in one WebSocket message from a client: bounds what one message can make a server answer
ACK_STATUSES = ("received", "displayed", "clicked", "dropped", "undecodable")
APP_STATES = ("foreground", "background")
_object = msgspec.json.Decoder(dict[str, Any]).decode


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Base of all frames; the frame's name on the wire is the class name in lower case (`StateChange` is `state`)."""


# ── client to server ────────────────────────────────────────────────────────────────────────────────────────────────


class Hello(Frame, frozen=True, kw_only=True):
    app: str
    device: str
    token: str
    versions: tuple[int, ...]
    install: str | None = None
    attempt: int | None = None
    heartbeat: int | None = None
    window: int | None = None
    state: str | None = None
    sdk: str | None = None
    network: str | None = None
    features: tuple[str, ...] = ()


class Ack(Frame, frozen=True):
    ids: tuple[int, ...]
    status: str = "received"


class Ping(Frame, frozen=True):
    next: int | None = None


class StateChange(Frame, frozen=True):
    app: str


class Call(Frame, frozen=True, kw_only=True):
    id: int
    path: str
    body: msgspec.Raw = msgspec.Raw()
    timeout_ms: int | None = None


class Subscribe(Frame, frozen=True):
    topics: tuple[str, ...]


class Unsubscribe(Frame, frozen=True):
    topics: tuple[str, ...]


class Unknown(Frame, frozen=True):
    """A frame type this side does not know: the server answers `error` `unknown_frame`, a client ignores it."""

    name: str


# ── server to client ────────────────────────────────────────────────────────────────────────────────────────────────


class Heartbeat(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Seconds: bounds of what a client may wish, the factor of silence that ends a session, the interval in force."""

    min: int = 60
    max: int = 600
    grace: float = 1.5
    next: int = 240


class Reconnect(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    base_ms: int = 500
    max_ms: int = 60_000
    factor: float = 2.0


class Welcome(Frame, frozen=True, kw_only=True):
    version: int
    session: str
    time: int
    heartbeat: Heartbeat
    window: int
    max_frame: int
    reconnect: Reconnect
    pending: int = 0
    features: tuple[str, ...] = ()


class Push(Frame, frozen=True, kw_only=True):
    id: int
    kind: str = "notification"
    title: str | None = None
    body: str | None = None
    data: msgspec.Raw = msgspec.Raw()  # a JSON object; empty: none
    collapse: str | None = None
    priority: str = "normal"
    sent: int = 0
    expires: int = 0
    again: bool = False
    via_vendor: bool = False

    def data_object(self) -> dict[str, Any]:
        """`data` parsed; empty if there is none. Raises msgspec.DecodeError if it is no object: a Push that was decoded holds one."""
        return _object(self.data) if bytes(self.data) else {}


class Undecodable(Frame, frozen=True):
    """A push of which only the id can be read: the client acks it `undecodable`, or it would be sent for ever. Never encoded."""

    id: int
    why: str


class Recall(Frame, frozen=True):
    id: int


class Pong(Frame, frozen=True):
    """`next`: the interval in force, in seconds, where it isn't the one that the ping asked for."""

    time: int
    next: int | None = None


class Reply(Frame, frozen=True, kw_only=True):
    id: int
    status: int
    body: msgspec.Raw = msgspec.Raw()


class Config(Frame, frozen=True, kw_only=True):
    key: str
    version: int
    value: Any = None


class Migrate(Frame, frozen=True, kw_only=True):
    urls: tuple[str, ...] = ()
    after_ms: int = 0
    spread_ms: int = 0
    permanent: bool = False


class Error(Frame, frozen=True, kw_only=True):
    code: str
    message: str = ""
    retry: bool = False


class Bye(Frame, frozen=True, kw_only=True):
    code: int
    reason: str = ""
    retry_after_ms: int = 0


ClientFrame = Hello | Ack | Ping | StateChange | Call | Subscribe | Unsubscribe | Unknown
ServerFrame = Welcome | Push | Undecodable | Recall | Pong | Reply | Config | Migrate | Error | Bye | Unknown
