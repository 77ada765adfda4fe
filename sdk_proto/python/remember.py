"""What is on its way to the store: ids, many at once when the store is slower than the pushes, and known only once they are stored; and
what was learned of networks.

While one write is under way the next one gathers, so that the flush to the disk is shared by all that waited for it.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sdk_proto.python.seen import Seen, expiry
from sdk_proto.python.store import Store

T = TypeVar("T")
Waiting = tuple[int, int, Callable[[], None] | None]  # id, expires, whom to tell


class Remember:
    """Keeps `seen` and the store in step.

    `report` is told of a store that fails. The ids then count for this run only: a full or forbidden disk lasts, and without
    acks nothing would arrive any more.
    """

    def __init__(self, store: Store, app: str, device: str, seen: Seen, report: Callable[[Exception], None]) -> None:
        self._store = store
        self._app = app
        self._device = device
        self._seen = seen
        self._report = report
        self._waiting: list[Waiting] = []
        self._learned: str | None = None
        self._writer: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Learn what an earlier run remembered."""
        try:
            known = await self._call(lambda: self._store.seen(self._app, self._device))
        except OSError as error:
            self._report(error)
            return
        for message_id, expires in known:
            self._seen.add(message_id, expires)

    async def heartbeats(self) -> str | None:
        """What `keep_heartbeats` was given in an earlier run."""
        try:
            return await self._call(lambda: self._store.heartbeats(self._app, self._device))
        except OSError as error:
            self._report(error)
            return None

    def keep_heartbeats(self, learned: str, now_ms: int) -> None:
        """In place of what was kept before; nobody waits for it."""
        self._learned = learned
        self._start(now_ms)

    async def next_attempt(self) -> tuple[str, int]:
        """The name of the installation and a new, higher attempt, stored before it is used. Raises OSError."""
        return await self._call(lambda: self._store.next_attempt(self._app, self._device))

    def add(self, message_id: int, expires: int, now_ms: int, done: Callable[[], None] | None = None) -> None:
        """Remember an id; `done` is called once it is stored. Times are Unix milliseconds of the server's clock."""
        item = (message_id, expiry(expires, now_ms), done)
        if self._store.instant:
            gone = self._seen.forget(now_ms)
            try:
                self._write([item], gone)
            except OSError as error:
                self._report(error)
            self._know([item])
            return
        self._waiting.append(item)
        self._start(now_ms)

    def _start(self, now_ms: int) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all(now_ms), name="taco-remember")

    async def drain(self) -> None:
        """Return when all that was given is stored."""
        while self._writer is not None:
            await asyncio.wait((self._writer,))

    async def close(self) -> None:
        """Let the store go; raises nothing, the store's error is reported."""
        await self.drain()
        try:
            await self._call(self._store.close)
        except OSError as error:
            self._report(error)

    async def _write_all(self, now_ms: int) -> None:
        try:
            while self._waiting or self._learned is not None:
                batch, self._waiting = self._waiting, []
                learned, self._learned = self._learned, None
                gone = self._seen.forget(now_ms)
                try:
                    await self._call(lambda: self._write(batch, gone, learned))  # noqa: B023 - it has run before they change
                except OSError as error:
                    self._report(error)
                self._know(batch)
        finally:
            self._writer = None

    def _write(self, batch: list[Waiting], gone: list[int], learned: str | None = None) -> None:
        if batch:
            self._store.remember(self._app, self._device, [(message_id, expires) for message_id, expires, _ in batch])
        if learned is not None:
            self._store.keep_heartbeats(self._app, self._device, learned)
        if gone:
            self._store.forget(self._app, self._device, gone)

    def _know(self, batch: list[Waiting]) -> None:
        for message_id, expires, done in batch:
            self._seen.add(message_id, expires)
            if done is not None:
                done()

    async def _call(self, method: Callable[[], T]) -> T:
        return method() if self._store.instant else await asyncio.to_thread(method)
