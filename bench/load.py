"""Load for an end-to-end run: devices that ack, callers that send batches on a schedule that waits for nobody, and what each of them saw.

The schedule is an open loop: batch k is due `k * batch / rate` seconds after the start and is sent then, whether or not earlier ones were answered. A
push's latency counts from the instant its batch was due, so that a server (or client) that falls behind can't hide it.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from time import monotonic
from types import TracebackType
from typing import Self

import msgspec

from bench.lag import Lag
from bench.lean_http import HttpFailed, LeanHttp
from bench.machine import percentile
from ops.tokens import mint
from push_core.clock import wall_ms
from sdk_proto.python.wire_client import Device, Fleet
from sdk_proto.wire.frames import Push

SIGN_INS_AT_ONCE = 64
PRIORITIES = ("urgent", "high", "normal", "low")


class _Result(msgspec.Struct):
    id: str | None = None
    error: dict[str, object] | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]


_answers = msgspec.json.Decoder(_Answer)
_single = msgspec.json.Decoder(_Result)
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Log:
    """What callers were told and what devices saw. Times are monotonic, in seconds; not the loop's own, which uvloop reads once a turn and in whole milliseconds."""

    due: dict[int, float] = field(default_factory=dict)  # accepted id → when it was due to be sent
    target: dict[int, str] = field(default_factory=dict)  # accepted id → its device
    offered: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by error code
    unanswered: int = 0
    received: dict[int, float] = field(default_factory=dict)  # id → when its frame first came
    frames: Counter[int] = field(default_factory=Counter)  # id → times it came
    shown: Counter[int] = field(default_factory=Counter)  # id → times a device showed it
    astray: int = 0  # pushes that came to another device than the one they were for

    def note(self, push: Push, is_new: bool, now: float) -> None:
        if push.id not in self.received:
            self.received[push.id] = now
        self.frames[push.id] += 1
        if is_new:
            self.shown[push.id] += 1


class Load:
    """One app's devices and callers. Devices are spread over the gateways and stay there, batches over the APIs; `connections` at each."""

    def __init__(
        self,
        *,
        apis: Sequence[str],
        key: str,
        gateways: Sequence[str],
        app: str,
        device_secret: str,
        devices: int,
        connections: int = 16,
        prefix: str = "device",
        priorities: Sequence[str] = PRIORITIES,
    ) -> None:
        self.log = Log()
        self._callers = [LeanHttp(api, key, connections=connections) for api in apis]
        self.http = self._callers[0]
        self._gateways = tuple(gateways)
        self._came_to: dict[int, str] = {}
        self._loop = asyncio.get_running_loop()
        self.fleet = Fleet(self._gateways[0], on_push=self._on_push)
        self._app = app
        self._secret = device_secret
        self._priorities = tuple(priorities)
        self.names = [f"{prefix}-{number}" for number in range(devices)]
        self._batches: set[asyncio.Task[None]] = set()
        self.lag_p99_ms: float | None = None
        self.pids: list[int] = []
        """Whose CPU is the load's, besides that of this process."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _on_push(self, device: Device, push: Push, is_new: bool) -> None:
        self.log.note(push, is_new, monotonic())
        self._came_to[push.id] = device.name

    async def sign_in(self) -> None:
        """All devices, a bounded number at a time."""
        gate = asyncio.Semaphore(SIGN_INS_AT_ONCE)
        now_s = wall_ms() // 1_000

        async def one(name: str, gateway: str) -> None:
            async with gate:
                device = self.fleet.device(self._app, name, mint(self._app, name, self._secret, now_s=now_s))
                await device.connect(at=gateway)

        async with asyncio.TaskGroup() as group:
            for name, gateway in zip(self.names, cycle(self._gateways), strict=False):
                group.create_task(one(name, gateway))

    async def start_over(self) -> None:
        """Forget what was noted so far; devices stay connected."""
        self.log = Log()
        self._came_to.clear()

    def newest(self) -> int:
        """The newest accepted id; 0 before the first."""
        return next(reversed(self.log.due), 0)

    async def book(self) -> Log:
        """What was noted until now."""
        return self.log

    async def offer(self, *, rate: float, seconds: float, batch: int, seed: int = 1) -> tuple[float, float]:
        """Send on schedule; the window (begin, end) in monotonic time. Answers are awaited in `settle`."""
        chance = random.Random(seed)
        lag = Lag()
        lag.start()
        begin = monotonic() + 0.1
        every = batch / rate
        for number in range(round(rate * seconds / batch)):
            due = begin + number * every
            wait = due - monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            devices = chance.choices(self.names, k=batch)
            messages = [
                {
                    "target": {"device": device},
                    "title": "Order 1207",
                    "body": "Pick up at the corner shop, two bags",
                    "data": {"order": "1207-33", "step": "pickup"},
                    "priority": chance.choice(self._priorities),
                }
                for device in devices
            ]
            body = _encoder.encode(messages[0] if batch == 1 else {"messages": messages})
            self.log.offered += batch
            caller = self._callers[number % len(self._callers)]
            task = self._loop.create_task(self._send(caller, body, devices, due))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
        end = begin + seconds
        await asyncio.sleep(max(0.0, end - monotonic()))
        lag.stop()
        self.lag_p99_ms = (percentile(lag.late_s, 99) or 0.0) * 1e3
        return begin, end

    @property
    def answers_awaited(self) -> int:
        """Calls that have no answer yet."""
        return len(self._batches)

    async def settle(self, timeout_s: float) -> bool:
        """Wait until all callers have their answers and all that was accepted has come; whether it did in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._batches:
                    await asyncio.wait(self._batches)
                # An event for each push would cost more than this look at the first one that is missing.
                while any(message_id not in self.log.received for message_id in self.log.due):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        finally:
            self.log.astray = sum(
                self._came_to.get(message_id, device) != device for message_id, device in self.log.target.items()
            )
        return True

    async def close(self) -> None:
        await self.fleet.close()
        for caller in self._callers:
            await caller.close()

    async def _send(self, caller: LeanHttp, body: bytes, devices: list[str], due: float) -> None:
        log = self.log
        single = len(devices) == 1
        try:
            status, answer = await caller.request("POST", "/v1/messages" if single else "/v1/messages:batch", body)
        except HttpFailed:
            log.unanswered += len(devices)
            return
        if status != 202:
            log.refused[f"http {status}"] += len(devices)
            return
        results = [_single.decode(answer)] if single else _answers.decode(answer).results
        for result, device in zip(results, devices, strict=True):
            if result.id is not None:
                log.due[int(result.id)] = due
                log.target[int(result.id)] = device
            else:
                log.refused[str((result.error or {}).get("code"))] += 1
