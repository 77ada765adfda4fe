"""The port of control: a few hundred small JSON values, versioned, read by every program once a second.

Versions come from one counter of the store: a value written later has a higher version than all before it, so that one number says what a
reader has seen. `watch.py` polls, keeps the last known values in memory and on disk, and tells subscribers.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class Entry(msgspec.Struct, frozen=True):
    key: str
    version: int
    value: Any  # JSON; None: removed


class Control(Protocol):
    async def put(self, key: str, value: Any, *, expect: int | None = None) -> Entry | None:
        """Write and return the new entry. With `expect` only if the key's version is that (0: not there yet); None if it isn't."""
        ...

    async def get(self, keys: Sequence[str]) -> list[Entry | None]: ...

    async def since(self, version: int) -> list[Entry]:
        """Entries newer than `version`, in order of version, removed ones included."""
        ...

    async def close(self) -> None: ...
