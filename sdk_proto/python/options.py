"""What an application says once: where to connect, as whom, and how."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sdk_proto.python.session import Limits
from sdk_proto.python.store import Store
from sdk_proto.python.tokens import TokenProvider
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.frames import APP_STATES, SUBPROTOCOL_PROTO
from sdk_proto.wire.subprotocols import SUBPROTOCOLS, codec_for

SDK = "python/0.1.0"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Raises ValueError, naming the field, for a value that can't be used."""

    url: str | Sequence[str]  # gateway addresses, `wss://…/v1/connect`, in order of preference
    app: str
    device: str
    token: str | TokenProvider = field(
        repr=False
    )  # a fixed token can't be renewed: the first refusal then stops the client
    store: Store | str | Path | None = None  # a file for what outlives a restart; None keeps it in memory only
    subprotocol: str = SUBPROTOCOL_PROTO
    heartbeat: int | None = None  # seconds between pings; None: learned for each network (`adaptive.py`)
    window: int | None = None  # wished number of pushes without an ack
    state: str | None = None  # "foreground" | "background"
    network: str | None = None  # label of the network that there is at the start; `Client.wake` tells of another
    features: tuple[str, ...] = ()
    concurrency: int = 1  # handlers side by side; 1 keeps the order of arrival
    handler_timeout_s: float = 30.0
    handler_tries: int = 3  # this failure of a handler ends a push as `dropped`
    stop_grace_s: float = 5.0  # for handlers that run when the client is stopped
    limits: Limits = field(default_factory=Limits)
    tls: ssl.SSLContext | None = None  # None: the system's certificates

    def __post_init__(self) -> None:
        for name in ("app", "device"):
            if not getattr(self, name):
                raise ValueError(f"{name}: empty")
        if self.subprotocol not in SUBPROTOCOLS:
            raise ValueError(f"subprotocol: not one of {', '.join(SUBPROTOCOLS)}")
        if self.state is not None and self.state not in APP_STATES:
            raise ValueError(f"state: not one of {', '.join(APP_STATES)}")
        for name in ("concurrency", "handler_tries", "handler_timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: not over 0")

    @property
    def urls(self) -> tuple[str, ...]:
        return (self.url,) if isinstance(self.url, str) else tuple(self.url)

    @property
    def codec(self) -> Codec:
        codec = codec_for(self.subprotocol)
        assert codec is not None  # looked up before
        return codec
