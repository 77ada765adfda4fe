"""A vendor within the process, for trying things out: accepts every token, keeps what it accepted, and can be told by a token's text to misbehave.

| token | what happens |
|---|---|
| `delay:2:…` | accepted after 2 seconds |
| `fail:…` | as an HTTP 500: asked again later |
| `quota:…` | over its quota for a second |
| `reject:…` | refused for good |
| `dead:…` | will not work again |
| anything else | accepted |
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from dispatcher.fallback.jobs import VendorJob
from dispatcher.fallback.port import Result, VendorOutcome
from push_core.clock import WallMs

MAX_DELAY_S = 60.0


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the log. `push` is the push as the device protocol has it. Without the token: it is a credential."""

    at: int  # Unix ms
    id: str
    app: str
    device: str
    tries: int
    traceparent: str
    push: msgspec.Raw


class StubChannel:
    """`accepted` holds the newest `kept`; `log` gets all of them, a JSON line each."""

    def __init__(self, wall_ms: Callable[[], WallMs], *, kept: int = 1_000, log: Path | None = None) -> None:
        self._wall_ms = wall_ms
        self._log = log
        self.accepted: deque[Accepted] = deque(maxlen=kept)
        self._writing = asyncio.Lock()

    @property
    def name(self) -> str:
        return "stub"

    @property
    def max_batch(self) -> int:
        return 256

    async def send(self, jobs: Sequence[VendorJob]) -> list[VendorOutcome]:
        delay_s = max((delay_of(job.token) for job in jobs), default=0.0)
        if delay_s:
            await asyncio.sleep(delay_s)
        outcomes = [outcome_of(job) for job in jobs]
        taken = [
            Accepted(
                at=self._wall_ms(),
                id=str(job.envelope.id),
                app=job.envelope.app,
                device=job.device,
                tries=job.tries,
                traceparent=job.envelope.traceparent,
                push=msgspec.Raw(job.envelope.push),
            )
            for job, outcome in zip(jobs, outcomes, strict=True)
            if outcome.result is Result.DELIVERED_TO_VENDOR
        ]
        self.accepted.extend(taken)
        if self._log is not None and taken:
            lines = b"".join(msgspec.json.encode(one) + b"\n" for one in taken)
            async with self._writing:
                await asyncio.to_thread(_append, self._log, lines)
        return outcomes

    async def close(self) -> None:
        pass


def delay_of(token: str) -> float:
    """Seconds; 0 for a token that asks for none or for nonsense."""
    if not token.startswith("delay:"):
        return 0.0
    try:
        return min(max(float(token.split(":", 2)[1]), 0.0), MAX_DELAY_S)
    except ValueError:
        return 0.0


def outcome_of(job: VendorJob) -> VendorOutcome:
    kind = job.token.split(":", 1)[0] if ":" in job.token else ""
    match kind:
        case "fail":
            return VendorOutcome(Result.RETRY_AFTER, "500")
        case "quota":
            return VendorOutcome(Result.QUOTA, "quota", delay_s=1.0)
        case "reject":
            return VendorOutcome(Result.REJECTED, "refused")
        case "dead":
            return VendorOutcome(Result.TOKEN_INVALID, "not registered")
        case _:
            return VendorOutcome(Result.DELIVERED_TO_VENDOR)


def _append(path: Path, lines: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        stream.write(lines)
