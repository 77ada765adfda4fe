"""Which vendor could reach a device: its tokens, through a small cache, asked only for deliveries that need a vendor decision."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from push_core.cache import Cache
from push_core.clock import Monotonic
from push_core.devices.port import DeadToken, Devices
from push_core.models import Device, DeviceKey


@dataclass(frozen=True, slots=True)
class Reach:
    """What vendors a device has. `routes` are (channel, token), the preferred first."""

    routes: tuple[tuple[str, str], ...] = ()
    blocked: bool = False
    updated: int = 0  # Unix ms at which the device registered its tokens

    def __repr__(self) -> str:  # tokens never reach a log
        return f"Reach({[channel for channel, _ in self.routes]}, blocked={self.blocked})"

    def first(self, tried: Collection[str] = ()) -> tuple[str, str] | None:
        if self.blocked:
            return None
        return next((route for route in self.routes if route[0] not in tried), None)


NOBODY = Reach()


def reach_of(device: Device | None, channels: Sequence[str]) -> Reach:
    """Pure: the device's tokens for the channels on offer, in the operator's order of preference."""
    if device is None:
        return NOBODY
    tokens = device.vendor_tokens
    return Reach(tuple((name, tokens[name]) for name in channels if tokens.get(name)), device.blocked, device.updated)


class VendorRoutes:
    def __init__(
        self,
        devices: Devices,
        channels: Sequence[str],
        *,
        ttl_s: float,
        size: int,
        monotonic: Callable[[], Monotonic] = time.monotonic,
    ) -> None:
        self._devices = devices
        self._channels = tuple(channels)
        self._cache: Cache[DeviceKey, Device] = Cache(
            devices.get, ttl_s=ttl_s, size=size, name="dispatcher.devices", monotonic=monotonic
        )

    async def of(self, keys: Sequence[DeviceKey]) -> list[Reach]:
        """Raises Unavailable when the device store can't be asked."""
        if not keys:
            return []
        if not self._channels:
            return [NOBODY] * len(keys)
        return [reach_of(device, self._channels) for device in await self._cache.get_many(keys)]

    async def drop(self, dead: Sequence[DeadToken]) -> None:
        if dead:
            await self._devices.drop_tokens(dead)
            for token in dead:
                self._cache.invalidate((token.app, token.device))

    async def close(self) -> None:
        await self._cache.close()
