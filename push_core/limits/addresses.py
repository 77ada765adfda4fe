"""What one address may ask for, and have open, of this process. Counted here and shared with nobody: what comes before anybody is known must neither wait for a store
nor be able to burden one."""

import ipaddress
import time
from collections.abc import Callable

from push_core.limits.memory import MemoryLimits
from push_core.limits.port import Ask
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics


class AddressLimits:
    """`rate_per_s` 0: no limit. Buckets of the `size` addresses that were granted something last."""

    def __init__(
        self, rate_per_s: float, burst: float, *, size: int = 100_000, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate_per_s = rate_per_s
        self._burst = max(1.0, burst or rate_per_s)
        self._monotonic = monotonic
        self._buckets = MemoryLimits(size, monotonic)

    def take(self, address: str) -> float:
        """0.0 when granted, else the seconds to wait."""
        if not self._rate_per_s:
            return 0.0
        ask = Ask(network_of(address), 1.0, self._rate_per_s, self._burst)
        return self._buckets.take_one(ask, self._monotonic())


def network_of(address: str) -> str:
    """What counts as one caller: an IPv4 address, of IPv6 the first 64 bits, since whoever has one of those has all of them."""
    if ":" not in address:
        return address
    try:
        packed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = packed.ipv4_mapped
    return str(mapped) if mapped is not None else packed.exploded[:19]


class AddressCounts:
    """How many of something (`what`, in metrics) each address has open. `limit` 0: none is counted."""

    def __init__(self, limit: int, what: str, metrics: Metrics) -> None:
        self._limit = limit
        self._what = what
        self._metrics = metrics
        self._open: dict[str, int] = {}

    def __len__(self) -> int:
        """Addresses that have one."""
        return len(self._open)

    def enter(self, address: str) -> bool:
        """One more, to be followed by `leave` whatever the answer. False: it is one too many."""
        if not self._limit:
            return True
        network = network_of(address)
        count = self._open[network] = self._open.get(network, 0) + 1
        if count > self._limit:
            self._metrics.count(Metric.LIMITED, limit=self._what)
            return False
        return True

    def leave(self, address: str) -> None:
        if not self._limit:
            return
        network = network_of(address)
        left = self._open.get(network, 0) - 1
        if left > 0:
            self._open[network] = left
        else:
            self._open.pop(network, None)
