"""A crowd of devices with habits, the callers that push to them, and the book in which both write down what they saw.

For end-to-end tests: what callers were told (202) and what devices' screens showed is compared with what the API says became of each message.
"""

import asyncio
import enum
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.lean_http import HttpFailed, LeanHttp
from bench.taco_process import TacoProcess
from ops.tokens import mint
from push_core.clock import wall_ms
from sdk_proto.python.wire_client import Device, Fleet, Place, SignInRefused
from sdk_proto.wire.frames import Push

OPEN_STATES = frozenset({"accepted", "sending"})
PRIORITIES = ("urgent", "high", "normal", "low")
RETRY_S = 0.1


class Habit(enum.Enum):
    ONLINE = "online"
    FLAKY = "flaky"  # loses its connection in the middle and comes back
    SILENT = "silent"  # connected, never acks
    SILENT_WITH_TOKEN = "silent, with a vendor token"
    OFFLINE = "offline"
    OFFLINE_WITH_TOKEN = "offline, with a vendor token"

    @property
    def has_token(self) -> bool:
        return self in (Habit.SILENT_WITH_TOKEN, Habit.OFFLINE_WITH_TOKEN)

    @property
    def is_silent(self) -> bool:
        return self in (Habit.SILENT, Habit.SILENT_WITH_TOKEN)

    @property
    def is_offline(self) -> bool:
        return self in (Habit.OFFLINE, Habit.OFFLINE_WITH_TOKEN)


HABITS = (
    *(Habit.ONLINE,) * 12,
    *(Habit.FLAKY,) * 3,
    Habit.SILENT,
    Habit.SILENT_WITH_TOKEN,
    Habit.OFFLINE,
    *(Habit.OFFLINE_WITH_TOKEN,) * 2,
)


@dataclass(slots=True)
class Book:
    """`accepted`: id → its devices, from 202s. `screens`: (id, device) → how often a screen showed it. `unexplained`: frames that came again
    on a connection without being marked so."""

    accepted: dict[int, frozenset[str]] = field(default_factory=dict)
    screens: Counter[tuple[int, str]] = field(default_factory=Counter)
    unexplained: int = 0
    repeats: int = 0

    def expected(self) -> set[tuple[int, str]]:
        return {(message_id, device) for message_id, devices in self.accepted.items() for device in devices}

    def shown_twice(self) -> list[tuple[int, str]]:
        return [key for key, times in self.screens.items() if times > 1]

    def shown_astray(self) -> set[tuple[int, str]]:
        """On a screen, but never accepted for that device by an answer."""
        return set(self.screens) - self.expected()


class _Result(msgspec.Struct):
    id: str | None = None
    error: dict[str, Any] | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]


class _Delivery(msgspec.Struct):
    device: str
    state: str
    reason: str | None = None


class _View(msgspec.Struct):
    id: str
    state: str
    deliveries: list[_Delivery]


class Crowd:
    """One app's devices and callers. `seed` makes a run repeatable as far as chance is ours."""

    def __init__(self, taco: TacoProcess, *, app: str, key: str, device_secret: str, size: int, seed: int = 1) -> None:
        self.app = app
        self.book = Book()
        self.names = [f"d-{number}" for number in range(size)]
        self.chance = random.Random(seed)
        self._secret = device_secret
        self._key = key
        self._habits = {name: HABITS[number % len(HABITS)] for number, name in enumerate(self.names)}
        self.fleet = Fleet(taco.gateway, on_push=self._on_push)
        now_s = wall_ms() // 1_000
        self._devices = {
            name: self.fleet.device(app, name, mint(app, name, device_secret, now_s=now_s)) for name in self.names
        }
        self._http = LeanHttp(taco.api, key, connections=8)
        self._everybody_acks = False

    def habit(self, name: str) -> Habit:
        return self._habits[name]

    def _on_push(self, device: Device, push: Push, is_new: bool) -> bool:
        if not is_new:
            self.book.repeats += 1
            if not push.again:
                self.book.unexplained += 1
        if self._habits[device.name].is_silent and not self._everybody_acks:
            return False  # it dies before the push is safe: neither acked nor shown
        if is_new:
            self.book.screens[push.id, device.name] += 1
        return True

    # ── devices ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def register(self) -> None:
        """Vendor tokens for those that have one."""

        async def one(name: str) -> None:
            status, body = await self._http.request(
                "PUT", f"/v1/devices/{name}", b'{"vendor_tokens":{"stub":"accepts"}}'
            )
            assert status == 200, body

        await _at_once(8, (one(name) for name in self.names if self._habits[name].has_token))

    async def come_online(self, names: Iterable[str] | None = None) -> None:
        """Those whose habit it is, or the named ones; whoever is refused for overload tries again."""
        chosen = [name for name in self.names if not self._habits[name].is_offline] if names is None else names
        await _at_once(64, (self._connect(self._devices[name]) for name in chosen if not self._devices[name].is_online))

    async def be_flaky(self) -> None:
        """Each flaky device loses its connection once, without a close frame, and is back after a moment."""

        async def one(name: str) -> None:
            await asyncio.sleep(self.chance.random())
            self._devices[name].abort()
            await asyncio.sleep(self.chance.random() * 0.5)
            await self._connect(self._devices[name])

        await _at_once(64, (one(name) for name in self.names if self._habits[name] is Habit.FLAKY))

    async def everybody_acks(self) -> None:
        """From now on all are online and ack: what waits for anybody comes to a screen."""
        self._everybody_acks = True
        for name in self.names:
            if self._habits[name].is_silent:
                self._devices[name].abort()
        await self.come_online(self.names)

    async def _connect(self, device: Device) -> None:
        while True:
            try:
                await device.connect()
            except (SignInRefused, OSError, TimeoutError):
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def move(self, taco: TacoProcess) -> None:
        """To a server that was started again, on other ports."""
        self.fleet.place = Place.of(taco.gateway)
        await self._http.close()
        self._http = LeanHttp(taco.api, self._key, connections=8)

    async def close(self) -> None:
        await self.fleet.close()
        await self._http.close()

    # ── callers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def push(self, count: int, *, batch: int = 100, callers: int = 4, label: str = "m") -> None:
        """So many messages of mixed priority, most to one device and some to a few, repeated with their idempotency keys until each is answered."""
        numbers = range(0, count, batch)
        await _at_once(callers, (self._push_batch(range(first, min(first + batch, count)), label) for first in numbers))

    async def _push_batch(self, numbers: range, label: str) -> None:
        chance = random.Random(f"{label}{numbers.start}")
        messages = []
        for number in numbers:
            devices = chance.sample(self.names, k=3 if number % 50 == 0 else 1)
            messages.append(
                {
                    "target": {"devices": devices} if len(devices) > 1 else {"device": devices[0]},
                    "title": f"{self.app} {number}",
                    "priority": PRIORITIES[number % 4],
                    "ack_timeout": 2,
                    "idempotency_key": f"{label}-{number}",
                }
            )
        while messages:
            messages = await self._send(messages)
            if messages:
                await asyncio.sleep(RETRY_S)

    async def _send(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages whose fate is not known yet."""
        try:
            status, body = await self._http.request(
                "POST", "/v1/messages:batch", msgspec.json.encode({"messages": messages})
            )
        except HttpFailed:
            return messages
        if status in (500, 503):
            return messages
        assert status == 202, body
        again = []
        for message, result in zip(messages, msgspec.json.decode(body, type=_Answer).results, strict=True):
            if result.id is None:
                assert result.error is not None
                assert result.error["retry"], result.error
                again.append(message)
                continue
            target = message["target"]
            self.book.accepted[int(result.id)] = frozenset(target.get("devices") or [target["device"]])
        return again

    # ── what became of it ─────────────────────────────────────────────────────────────────────────────────────────────

    async def settled(self, timeout_s: float, *, faults: bool = False) -> dict[tuple[int, str], str]:
        """The state of every delivery by the API, once none is under way any more. Fails with what is left. What waits for an offline
        device with a token is on its way to the vendor, save after faults: then it may rest there until the vendor's safety net."""
        states: dict[tuple[int, str], str] = {}
        todo = list(self.book.accepted)
        try:
            async with asyncio.timeout(timeout_s):
                while todo:
                    views = await self._views(todo)
                    for view in views:
                        for delivery in view.deliveries:
                            states[int(view.id), delivery.device] = delivery.state
                    todo = [
                        int(view.id)
                        for view in views
                        if any(self._is_under_way(delivery, faults=faults) for delivery in view.deliveries)
                    ]
                    if todo:
                        await asyncio.sleep(0.5)
        except TimeoutError:
            left = Counter(
                states[message_id, device] for message_id in todo for device in self.book.accepted[message_id]
            )
            habits = Counter(
                self._habits[device].value for message_id in todo for device in self.book.accepted[message_id]
            )
            raise AssertionError(
                f"still under way after {timeout_s} s: {left}, devices: {habits}, for example {todo[:3]}"
            ) from None
        return states

    def _is_under_way(self, delivery: _Delivery, *, faults: bool) -> bool:
        if delivery.state in OPEN_STATES:
            return True
        return not faults and delivery.state == "waiting" and self._habits[delivery.device] is Habit.OFFLINE_WITH_TOKEN

    async def shown_everywhere(self, timeout_s: float) -> None:
        """Wait until each accepted delivery was on its screen. Fails with what is missing."""
        expected = self.book.expected()
        try:
            async with asyncio.timeout(timeout_s):
                while expected - self.book.screens.keys():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            missing = expected - self.book.screens.keys()
            habits = Counter(self._habits[device].value for _, device in missing)
            raise AssertionError(
                f"never shown: {len(missing)}, devices: {habits}, for example {sorted(missing)[:3]}"
            ) from None

    async def _views(self, ids: Sequence[int]) -> list[_View]:
        views: list[_View] = []

        async def one(message_id: int) -> None:
            status, body = await self._http.request("GET", f"/v1/messages/{message_id}")
            assert status == 200, (message_id, body)
            views.append(msgspec.json.decode(body, type=_View))

        await _at_once(8, (one(message_id) for message_id in ids))
        return views

    def by_habit(self, states: dict[tuple[int, str], str]) -> dict[Habit, Counter[str]]:
        counts: dict[Habit, Counter[str]] = defaultdict(Counter)
        for (_, device), state in states.items():
            counts[self._habits[device]][state] += 1
        return counts


async def _at_once(limit: int, work: Iterable[Any]) -> None:
    """Await coroutines, `limit` at a time; they are made when their turn comes."""
    waiting = iter(work)

    async def worker() -> None:
        for item in waiting:
            await item

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(worker())
