"""Where the receipts services of a zone listen: named by settings, or registered by listeners of this very process."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count

from push_core.errors import DeadlineExceeded, Unavailable


class Zones:
    def __init__(self, addresses: Mapping[str, Sequence[str]] | None = None) -> None:
        self._named = {zone: tuple(named) for zone, named in (addresses or {}).items()}
        self._registered: dict[str, list[str]] = {}

    def register(self, zone: str, address: str) -> None:
        registered = self._registered.setdefault(zone, [])
        if address not in registered:
            registered.append(address)

    def unregister(self, zone: str, address: str) -> None:
        if address in self._registered.get(zone, ()):
            self._registered[zone].remove(address)

    def addresses(self, zone: str) -> list[str]:
        """Those of this process first: no network in between."""
        registered = self._registered.get(zone, [])
        return [*registered, *(address for address in self._named.get(zone, ()) if address not in registered)]


class ZoneCaller:
    """Takes the addresses of a zone in turn, and passes by one that can't be reached."""

    def __init__(self, zones: Zones, monotonic: Callable[[], float]) -> None:
        self._zones = zones
        self._monotonic = monotonic
        self._turns = count()

    async def call(self, zone: str, timeout_s: float, one: Callable[[str, float], Awaitable[None]]) -> None:
        """`one(address, seconds left)` at one address after the other until one takes it. Raises Unavailable when none does,
        DeadlineExceeded at the first that leaves the outcome open."""
        addresses = self._zones.addresses(zone)
        if not addresses:
            raise Unavailable(f"no receipts service is known for zone {zone!r}")
        began = self._monotonic()
        first = next(self._turns) % len(addresses)
        refused: Unavailable | None = None
        for address in (*addresses[first:], *addresses[:first]):
            left_s = timeout_s - (self._monotonic() - began)
            if left_s <= 0:
                break
            try:
                await one(address, left_s)
            except DeadlineExceeded:
                raise
            except Unavailable as error:
                refused = error
            else:
                return
        raise refused or Unavailable(f"no time left to reach zone {zone!r}")
