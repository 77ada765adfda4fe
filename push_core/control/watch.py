"""Control as a program sees it: values in memory, followed by polling, with a copy on disk to start from when the store is away.

A reader is never worse off than the last time it could read: a value that makes no sense is refused and the one before holds.
"""

import asyncio
import contextlib
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from push_core.control.port import Control, Entry
from push_core.errors import TacoError, Unavailable
from push_core.shards import CONTROL_KEY, ShardMap

log = structlog.get_logger(__name__)

Subscriber = Callable[[Entry], None]
POLL_S = 1.0
_copy = msgspec.json.Decoder(list[Entry])


class ControlWatch:
    """`disk` is the file of the copy, or None for no copy. `control` is for writing; what was written shows here after the next poll."""

    def __init__(self, control: Control, disk: Path | None, *, poll_s: float = POLL_S) -> None:
        self.control = control
        self._disk = disk
        self._poll_s = poll_s
        self._entries: dict[str, Entry] = {}
        self._version = 0
        self._shard_map = ShardMap.single()
        self._subscribers: defaultdict[str, list[Subscriber]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None
        self._away = False

    @property
    def shard_map(self) -> ShardMap:
        """The newest map that made sense; one zone that owns everything until there is one."""
        return self._shard_map

    @property
    def version(self) -> int:
        """The highest version seen."""
        return self._version

    async def start(self) -> None:
        """Load everything, then follow. With the store away it starts from the copy on disk; without one, from nothing: every key has
        its default and the store is asked again each second."""
        try:
            await self.poll()
        except Unavailable as error:
            self._away = True
            entries = await asyncio.to_thread(self._read_copy)
            log.warning("control can't be read; starting from the copy on disk", keys=len(entries), error=error.message)
            self._take(entries)
            self._version = 0  # the copy may be of a store that was replaced since: the first answer is read whole
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="control.watch")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def value(self, key: str, default: Any = None) -> Any:
        """The key's value, or `default` where there is none or it was removed."""
        entry = self._entries.get(key)
        return default if entry is None or entry.value is None else entry.value

    def subscribe(self, key: str, fn: Subscriber) -> None:
        """Call `fn` with each new entry of the key, on the loop; with the present one at once, if there is one."""
        self._subscribers[key].append(fn)
        entry = self._entries.get(key)
        if entry is not None:
            _tell(fn, entry)

    async def poll(self) -> None:
        """Read what is newer and tell subscribers. Raises Unavailable. `start` does it each second."""
        entries = await self.control.since(self._version)
        if entries:
            self._take(entries)
            if self._disk is not None:
                await asyncio.to_thread(_write_copy, self._disk, list(self._entries.values()))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.poll()
            except TacoError as error:
                if not self._away:  # once, not each second
                    log.warning("control can't be read; the last values hold", error=error.message)
                self._away = True
            except Exception:  # the supervised edge: a watch that dies silently would freeze the configuration
                log.exception("control poll failed; the last values hold")
            else:
                if self._away:
                    log.info("control can be read again")
                self._away = False

    def _take(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._version = max(self._version, entry.version)
            if entry == self._entries.get(entry.key):
                continue
            self._entries[entry.key] = entry
            if entry.key == CONTROL_KEY:
                self._take_map(entry)
            for fn in self._subscribers.get(entry.key, ()):
                _tell(fn, entry)

    def _take_map(self, entry: Entry) -> None:
        if entry.value is None:
            self._shard_map = ShardMap.single()
            return
        try:
            self._shard_map = ShardMap.from_value(entry.version, entry.value)
        except (ValueError, AttributeError) as error:
            log.warning("shard map refused; the one before holds", version=entry.version, error=str(error))

    def _read_copy(self) -> list[Entry]:
        if self._disk is None:
            return []
        try:
            return _copy.decode(self._disk.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the copy of control can't be read", path=str(self._disk), error=str(error))
            return []


def _tell(fn: Subscriber, entry: Entry) -> None:
    try:
        fn(entry)
    except Exception:  # one subscriber that fails must not keep the value from the others
        log.exception("a subscriber of control failed", key=entry.key)


def _write_copy(path: Path, entries: list[Entry]) -> None:
    """Whole or not at all: written beside, then renamed; programs may share the folder. A disk that is full costs the copy, not the program."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(entries)))
        beside.replace(path)
    except OSError as error:
        log.warning("control can't be copied to disk", path=str(path), error=str(error))
