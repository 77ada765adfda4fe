"""Phones with the real SDK (`sdk_proto.python.Client`): they follow `migrate`, make before they break, and reconnect as it does. What each
has shown and when it was welcomed is kept, and for how long it had no connection at all."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from bench.chaos_callers import Log
from ops.tokens import mint
from push_core.clock import wall_ms
from sdk_proto.python.client import Client
from sdk_proto.python.options import Options
from sdk_proto.python.status import Status
from sdk_proto.wire.frames import Push

AT_ONCE = 32  # sign-ins at the start


@dataclass(slots=True)
class Phone:
    """`welcomes`: when it was signed in, monotonic. `offline_s`: time without any connection since it was first welcomed."""

    name: str
    welcomes: list[float] = field(default_factory=list)
    codes: list[int | None] = field(default_factory=list)
    offline_s: float = 0.0
    longest_s: float = 0.0
    _gone: float | None = None

    def status(self, status: Status) -> None:
        now = monotonic()
        if status.state == "online":
            self.welcomes.append(now)
            if self._gone is not None:
                self.offline_s += now - self._gone
                self.longest_s = max(self.longest_s, now - self._gone)
                self._gone = None
        elif self.welcomes and self._gone is None:
            self._gone = now
            self.codes.append(status.code)


class SdkCrowd:
    def __init__(self, gateways: Sequence[str], *, app: str, device_secret: str, devices: int, log: Log) -> None:
        self.phones = [Phone(f"device-{number}") for number in range(devices)]
        self._shown: dict[str, set[int]] = {phone.name: set() for phone in self.phones}
        self._log = log
        now_s = wall_ms() // 1_000
        self._clients = [
            self._client(phone, urls_from(gateways, number), app, mint(app, phone.name, device_secret, now_s=now_s))
            for number, phone in enumerate(self.phones)
        ]

    def _client(self, phone: Phone, urls: Sequence[str], app: str, token: str) -> Client:
        def on_push(push: Push) -> None:
            """Called once for an id, says the SDK: here it is seen whether that is so."""
            shown = self._shown[phone.name]
            self._log.note(phone, push, push.id not in shown)
            shown.add(push.id)

        async def on_push_soon(push: Push) -> None:  # a plain function would run in a thread
            on_push(push)

        options = Options(url=urls, app=app, device=phone.name, token=token)
        return Client(options, on_push_soon, on_status=phone.status)

    @property
    def names(self) -> list[str]:
        return [phone.name for phone in self.phones]

    @property
    def online(self) -> int:
        return sum(client.status.state == "online" for client in self._clients)

    async def start(self, within_s: float) -> None:
        """All of them signed in. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            for begin in range(0, len(self._clients), AT_ONCE):
                some = self._clients[begin : begin + AT_ONCE]
                for client in some:
                    await client.start()
                while any(client.status.state != "online" for client in some):
                    await asyncio.sleep(0.02)

    async def close(self) -> None:
        await asyncio.gather(*(client.stop() for client in self._clients))

    def reconnects(self, since: float) -> list[float]:
        """When devices were signed in after that time, in order."""
        return sorted(at for phone in self.phones for at in phone.welcomes if at > since)


def urls_from(gateways: Sequence[str], number: int) -> list[str]:
    """All of them, beginning with the device's own; of those that share it half go on upwards, half downwards, so that one that leaves sends
    its devices to both neighbours.

    >>> [urls_from("abc", number) for number in (0, 1, 3, 4)]
    [['a', 'b', 'c'], ['b', 'c', 'a'], ['a', 'c', 'b'], ['b', 'a', 'c']]
    """
    turn, count = number % len(gateways), len(gateways)
    step = 1 if number // count % 2 == 0 else -1
    return [gateways[(turn + step * place) % count] for place in range(count)]


def most_in_a_second(times: Sequence[float]) -> int:
    """The most of them in any one second, wherever it begins. `times` are in order.

    >>> most_in_a_second([0.0, 0.5, 0.99, 1.2, 1.6])
    3
    """
    most, first = 0, 0
    for place, at in enumerate(times):
        while at - times[first] >= 1.0:
            first += 1
        most = max(most, place - first + 1)
    return most
