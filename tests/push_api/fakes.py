"""Stand-ins for the neighbours of the push API, told by a test what to answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from push_core.clock import WallMs
from push_core.errors import Unavailable
from push_core.messages.port import Commit, Committed, IssuerLease, Later, NewMessage
from push_core.queues.port import Parcel, Published
from push_core.trail.port import Event


class FakeMessages:
    """The few methods that accepting needs. `answers` are taken one a commit: an exception to raise, a list of outcomes, or a coroutine
    function that is awaited first; when they are used up every item is DONE."""

    def __init__(self) -> None:
        self.batches: list[list[NewMessage]] = []
        self.committed: dict[int, NewMessage] = {}
        self.answers: list[Exception | list[Commit] | Callable[[], Awaitable[None]]] = []
        self.later: list[Later] = []
        self.later_error: Exception | None = None
        self.lease_error: Exception | None = None
        self.lease_taken_by_another = False
        self.leases: list[IssuerLease] = []
        self.released: list[tuple[int, WallMs]] = []
        self.high_water_ms = 0

    async def commit(self, batch: Sequence[NewMessage], *, now: WallMs, oldest_ms: int = 5_000) -> list[Committed]:
        self.batches.append(list(batch))
        answer = self.answers.pop(0) if self.answers else [Commit.DONE] * len(batch)
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, list):
            await answer()
            answer = [Commit.DONE] * len(batch)
        for item, outcome in zip(batch, answer, strict=True):
            if outcome is Commit.DONE:
                self.committed[item.envelope.id] = item
        return [Committed(outcome, item.envelope.id) for item, outcome in zip(batch, answer, strict=True)]

    async def put_later(self, rows: Sequence[Later]) -> None:
        if self.later_error:
            raise self.later_error
        self.later.extend(rows)

    async def lease_issuer(self, holder: str, *, now: WallMs, ttl_ms: int) -> IssuerLease:
        if self.lease_error:
            raise self.lease_error
        self.lease_taken_by_another = False
        self.leases.append(IssuerLease(len(self.leases), holder, self.high_water_ms, now + ttl_ms))
        return self.leases[-1]

    async def renew_issuer(
        self, lease: IssuerLease, *, high_water_ms: WallMs, now: WallMs, ttl_ms: int
    ) -> IssuerLease | None:
        if self.lease_error:
            raise self.lease_error
        return None if self.lease_taken_by_another else IssuerLease(lease.issuer, lease.holder, 0, now + ttl_ms)

    async def release_issuer(self, lease: IssuerLease, *, high_water_ms: WallMs) -> None:
        if self.lease_error:
            raise self.lease_error
        self.released.append((lease.issuer, high_water_ms))

    async def ping(self) -> None:
        if self.lease_error:
            raise self.lease_error


class FakeQueues:
    """`answers` are taken one a call: an exception, outcomes, or an event that is waited for; then all is CONFIRMED."""

    def __init__(self) -> None:
        self.published: list[Parcel] = []
        self.calls: list[list[Parcel]] = []
        self.answers: list[Exception | list[Published] | asyncio.Event] = []

    async def publish(self, parcels: Sequence[Parcel]) -> list[Published]:
        self.calls.append(list(parcels))
        answer = self.answers.pop(0) if self.answers else [Published.CONFIRMED] * len(parcels)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            answer = [Published.CONFIRMED] * len(parcels)
        self.published.extend(
            parcel for parcel, outcome in zip(parcels, answer, strict=True) if outcome is Published.CONFIRMED
        )
        return answer


class FakeTrail:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, events: Sequence[Event]) -> None:
        self.events.extend(events)


class Failing:
    """A port with some methods replaced: `Failing(store, commit=broken)` raises or awaits `broken` and passes on everything else."""

    def __init__(self, inner: Any, **replaced: Any) -> None:
        self._inner = inner
        self._replaced = replaced

    def replace(self, **replaced: Any) -> None:
        self._replaced.update(replaced)

    def give_back(self) -> None:
        """Everything as it was."""
        self._replaced.clear()

    def __getattr__(self, name: str) -> Any:
        def call(
            *args: Any, **options: Any
        ) -> Any:  # looked up when it is called: a program keeps the methods of its ports
            replaced = self._replaced.get(name)
            if isinstance(replaced, Exception):
                return fail(replaced)
            return (replaced or getattr(self._inner, name))(*args, **options)

        return call


async def fail(error: Exception) -> Any:
    raise error


def away(what: str = "the store") -> Unavailable:
    return Unavailable(f"{what} is away")
