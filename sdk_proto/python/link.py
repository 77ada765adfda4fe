"""One connection of a client, from dial to end: its session, its transport, and since when it is welcomed."""

from typing import Protocol

from sdk_proto.python.session import Session
from sdk_proto.python.transport import Target, Transport


class Owner(Protocol):
    """Whoever holds the link hears what its transport says."""

    def opened(self, link: "Link") -> None: ...

    def received(self, link: "Link", message: bytes) -> None: ...

    def lost(self, link: "Link", code: int | None, reason: str, retry_after_ms: int) -> None: ...


class Link:
    """Dials at once."""

    def __init__(self, owner: Owner, session: Session, target: Target) -> None:
        self._owner = owner
        self.session = session
        self.welcomed_at: float | None = None
        self.transport = Transport(target, self)

    def on_open(self) -> None:
        self._owner.opened(self)

    def on_message(self, message: bytes) -> None:
        self._owner.received(self, message)

    def on_close(self, code: int | None, reason: str) -> None:
        self._owner.lost(self, code, reason, 0)
