"""Which sessions this node holds: the one dict from (app, device) to its connection, and those that are about to be in it.

A joining session is here before presence is told of it, so that whoever finds its route finds it here (`Registry.joining`).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from push_core.models import DeviceKey

if TYPE_CHECKING:
    from push_gateway.connection import Connection


class Open(Protocol):
    """A connection, whatever it is for at the moment."""

    def close(self, code: int, reason: str = "", *, retry_after_ms: int = 0) -> None: ...

    def abort(self) -> None: ...


class Registry:
    """`connections` are all that are open, signed in or not; `signed` and `joining` never hold a closed one. `apps` says how many of each app
    these two hold."""

    __slots__ = ("_epoch", "apps", "connections", "joining", "signed")

    def __init__(self) -> None:
        self.connections: set[Open] = set()
        self.signed: dict[DeviceKey, Connection] = {}
        self.joining: dict[DeviceKey, list[Connection]] = {}
        self.apps: dict[str, int] = {}
        self._epoch = 0

    def next_epoch(self) -> int:
        """Numbers the connections of this incarnation."""
        self._epoch += 1
        return self._epoch

    def find(self, key: DeviceKey, epoch: int) -> "Connection | None":
        """The connection of the device with exactly this epoch, signed in or joining."""
        return next((connection for connection in self.of(key) if connection.epoch == epoch), None)

    def of(self, key: DeviceKey) -> "Iterator[Connection]":
        signed = self.signed.get(key)
        if signed is not None:
            yield signed
        yield from tuple(self.joining.get(key, ()))

    def join(self, connection: "Connection") -> None:
        app = connection.key[0]
        self.apps[app] = self.apps.get(app, 0) + 1
        self.joining.setdefault(connection.key, []).append(connection)

    def sign(self, connection: "Connection") -> None:
        """From joining to signed. The caller has closed the one before."""
        self._leave(connection)
        self.signed[connection.key] = connection

    def remove(self, connection: "Connection") -> None:
        """It is closed: nothing finds it any more. Another connection of the device stays."""
        app = connection.key[0]
        left = self.apps.get(app, 0) - 1
        if left > 0:
            self.apps[app] = left
        else:
            self.apps.pop(app, None)
        if self.signed.get(connection.key) is connection:
            del self.signed[connection.key]
        else:
            self._leave(connection)

    def _leave(self, connection: "Connection") -> None:
        joining = self.joining.get(connection.key)
        if joining is not None and connection in joining:
            joining.remove(connection)
            if not joining:
                del self.joining[connection.key]
