"""Callers that don't give up: an open loop of pushes, each with an idempotency key, repeated with growing jittered pauses until it is answered
with 202, which counts once for a key, or until its time is over."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

import msgspec

from bench.lean_http import HttpFailed, LeanHttp
from sdk_proto.wire.frames import Push

PRIORITIES = ("urgent", "high", "normal", "low")
NO_REPEAT = frozenset((400, 401, 403, 404, 405, 409, 413, 422))


class _Error(msgspec.Struct):
    code: str = ""
    retry: bool = False
    message: str = ""


class _Result(msgspec.Struct):
    id: str | None = None
    error: _Error | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]


_answers = msgspec.json.Decoder(_Answer)
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Sample:
    """One push that was offered. Times are monotonic seconds; None: it has not happened."""

    due: float
    device: str
    key: str
    id: int | None = None
    accepted: float | None = None


class Named(Protocol):
    """A device, as far as a log is concerned."""

    @property
    def name(self) -> str: ...


@dataclass(slots=True)
class Log:
    """What callers were told and what devices saw."""

    samples: list[Sample] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)  # pushes given up, by the last reason
    repeats: Counter[str] = field(default_factory=Counter)  # tries that were repeated, by reason
    received: dict[int, float] = field(default_factory=dict)  # id → when its frame first came
    frames: Counter[int] = field(default_factory=Counter)
    shown: Counter[int] = field(default_factory=Counter)
    astray: int = 0
    devices: dict[int, str] = field(default_factory=dict)  # id → the device it came to

    def note(self, device: Named, push: Push, is_new: bool) -> None:
        if push.id not in self.received:
            self.received[push.id] = monotonic()
            self.devices[push.id] = device.name
        elif self.devices[push.id] != device.name:
            self.astray += 1
        self.frames[push.id] += 1
        if is_new:
            self.shown[push.id] += 1


class Callers:
    """`patience_s`: how long one push is tried."""

    def __init__(
        self,
        http: LeanHttp,
        log: Log,
        devices: list[str],
        *,
        rate: float,
        batch: int,
        patience_s: float = 60.0,
        ttl_s: int = 3_600,
        seed: int = 1,
    ) -> None:
        self._http = http
        self._log = log
        self._devices = devices
        self._rate, self._batch = rate, batch
        self._patience_s = patience_s
        self._ttl_s = ttl_s
        self._chance = random.Random(seed)
        self._run = f"{random.getrandbits(48):x}"
        self._numbers = 0
        self._offering: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Calls without their last answer."""
        return len(self._calls)

    def start(self) -> None:
        self._offering = asyncio.get_running_loop().create_task(self._offer())

    def stop(self) -> None:
        """Offer nothing more; what was offered goes on until it is answered."""
        if self._offering is not None:
            self._offering.cancel()
            self._offering = None

    async def close(self) -> None:
        self.stop()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _offer(self) -> None:
        begin, every = monotonic(), self._batch / self._rate
        number = 0
        while True:
            due = begin + number * every
            number += 1
            wait_s = due - monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            call = asyncio.get_running_loop().create_task(self._call(due))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def _message(self, due: float) -> tuple[Sample, dict[str, Any]]:
        self._numbers += 1
        sample = Sample(due, self._chance.choice(self._devices), f"{self._run}-{self._numbers}")
        self._log.samples.append(sample)
        return sample, {
            "target": {"device": sample.device},
            "title": "Order 1207",
            "body": "Pick up at the corner shop, two bags",
            "data": {"order": "1207-33", "step": "pickup"},
            "priority": self._chance.choice(PRIORITIES),
            "ttl": self._ttl_s,
            "idempotency_key": sample.key,
        }

    async def _call(self, due: float) -> None:
        open_now = [self._message(due) for _ in range(self._batch)]
        until, pause_s = due + self._patience_s, 0.1
        while True:
            open_now, why = await self._try(open_now)
            if not open_now:
                return
            if monotonic() >= until:
                self._log.refused[why] += len(open_now)
                return
            self._log.repeats[why] += len(open_now)
            await asyncio.sleep(random.uniform(0.0, pause_s))
            pause_s = min(2.0, pause_s * 2)

    async def _try(
        self, messages: list[tuple[Sample, dict[str, Any]]]
    ) -> tuple[list[tuple[Sample, dict[str, Any]]], str]:
        """What must be tried again, and why."""
        body = _encoder.encode({"messages": [message for _, message in messages]})
        try:
            status, answer = await self._http.request("POST", "/v1/messages:batch", body)
        except HttpFailed as error:
            return messages, type(error.__cause__).__name__
        if status != 202:
            if status in NO_REPEAT:
                self._log.refused[f"http {status}"] += len(messages)
                return [], ""
            return messages, f"http {status}"
        again, why = [], ""
        for (sample, message), result in zip(messages, _answers.decode(answer).results, strict=True):
            if result.id is not None:
                sample.id, sample.accepted = int(result.id), monotonic()
            elif result.error is not None and result.error.retry:
                again.append((sample, message))
                why = result.error.code
            else:
                self._log.refused[result.error.code if result.error else "?"] += 1
        return again, why
