"""Devices as phones behave: spread over the gateways, back with jittered pauses when a connection ends, at the next gateway when one
can't be reached. Addresses and pauses are the SDK's."""

import asyncio
import random
from collections.abc import Sequence
from time import monotonic

from ops.tokens import mint
from push_core.clock import wall_ms
from sdk_proto.python.addresses import Addresses
from sdk_proto.python.backoff import Backoff
from sdk_proto.python.session import Limits
from sdk_proto.python.wire_client import Device, Fleet, PushSink, SignInRefused

SIGN_INS_AT_ONCE = 64
LIMITS = Limits(connect_s=5.0, welcome_s=5.0)
STABLE_S = 10.0  # a connection that lived so long starts pauses anew, as in the SDK


class Crowd:
    """`at` is where each device is connected, or was last."""

    def __init__(self, gateways: Sequence[str], *, app: str, device_secret: str, devices: int, seed: int = 1) -> None:
        self._gateways = tuple(gateways)
        self._fleet = Fleet(self._gateways[0], limits=LIMITS)
        self._chance = random.Random(seed)
        self._gate = asyncio.Semaphore(SIGN_INS_AT_ONCE)
        now_s = wall_ms() // 1_000
        self.devices = [
            self._fleet.device(app, name, mint(app, name, device_secret, now_s=now_s))
            for name in (f"device-{number}" for number in range(devices))
        ]
        self.at: dict[str, str] = {}
        self._lives: list[asyncio.Task[None]] = []

    @property
    def names(self) -> list[str]:
        return [device.name for device in self.devices]

    @property
    def online(self) -> int:
        return sum(device.is_online for device in self.devices)

    @property
    def sign_ins(self) -> int:
        return self._fleet.counters.signed_in

    def tell(self, on_push: PushSink) -> None:
        """Whom pushes are told to from now on."""
        self._fleet.on_push = on_push

    def on(self, gateway: str) -> set[str]:
        """Names of the devices that are connected there."""
        return {device.name for device in self.devices if device.is_online and self.at.get(device.name) == gateway}

    async def start(self, within_s: float) -> None:
        """All of them signed in. Raises TimeoutError."""
        self._lives = [
            asyncio.get_running_loop().create_task(self._live(device, number), name=device.name)
            for number, device in enumerate(self.devices)
        ]
        await self._all_online(within_s)

    async def spread(self, within_s: float) -> None:
        """Who was driven to another gateway goes home again, so that each has its part. Raises TimeoutError."""
        for number, device in enumerate(self.devices):
            if device.is_online and self.at[device.name] != self._gateways[number % len(self._gateways)]:
                device.close()
        await self._all_online(within_s)

    async def _all_online(self, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while self.online < len(self.devices):
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await self._fleet.close()

    async def _live(self, device: Device, number: int) -> None:
        turn = number % len(self._gateways)
        home = (*self._gateways[turn:], *self._gateways[:turn])
        addresses = Addresses(home)
        backoff = Backoff(self._chance.random)
        while True:
            async with self._gate:
                try:
                    welcome = await device.connect(at=addresses.next)
                except (SignInRefused, OSError, TimeoutError):
                    welcome = None
            if welcome is None:
                addresses.failed()
            else:
                self.at[device.name] = addresses.next
                addresses.reached()
                backoff.configure(welcome.reconnect)
                since = monotonic()
                await device.ended()
                if monotonic() - since >= STABLE_S:
                    backoff.reset()
                addresses = Addresses(home)  # the next connection is tried at home first
            await asyncio.sleep(backoff.next_s())
