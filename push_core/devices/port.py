"""The port of the device store. Batch-first; a method is one transaction; any may raise `Unavailable` or `DeadlineExceeded`.

A device is keyed by (app, device). It needs no row to sign in or be pushed to.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from push_core.models import App, Device, DeviceKey


class DeadToken(msgspec.Struct, frozen=True):
    """A vendor said that this token will not work again; removed only if it is still the device's token (compare first)."""

    app: str
    device: str
    channel: str
    token: str


class TopicChange(msgspec.Struct, frozen=True, kw_only=True):
    """What the server side subscribes a device to, and unsubscribes it from (first)."""

    app: str
    device: str
    add: Sequence[str] = ()
    remove: Sequence[str] = ()


class Devices(Protocol):
    async def put_apps(self, apps: Sequence[App]) -> None:
        """Create or replace."""
        ...

    async def apps(self, names: Sequence[str]) -> list[App | None]: ...

    async def all_apps(self) -> list[App]:
        """In order of names."""
        ...

    async def put(self, devices: Sequence[Device]) -> list[Device]:
        """Register or replace, keeping `blocked` and `topics` as they stand in the store; the records as stored."""
        ...

    async def get(self, keys: Sequence[DeviceKey]) -> list[Device | None]: ...

    async def forget(self, keys: Sequence[DeviceKey]) -> list[bool]:
        """Remove the record; whether there was one. A block is forgotten with it."""
        ...

    async def block(self, keys: Sequence[DeviceKey], blocked: bool, *, now: int) -> None:
        """Refuse the device until unblocked; makes a record where there is none."""
        ...

    async def change_topics(self, changes: Sequence[TopicChange], *, now: int) -> list[Device]:
        """The records as stored then; makes one where there is none and something is added. Topics stay in order of their addition."""
        ...

    async def by_alias(self, app: str, aliases: Sequence[str], *, after: str = "", limit: int = 1_000) -> list[str]:
        """Names of devices that carry one of the aliases, in order, after the given name: pages of an expansion."""
        ...

    async def drop_tokens(self, dead: Sequence[DeadToken]) -> None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
