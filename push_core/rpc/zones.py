"""Where the receipts services of a zone listen, by all who know: listeners of this very process, presence (those of the own zone), control
and settings (those of other zones). `discovery.py` keeps what presence and control say up to date."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import TypeVar

from push_core.errors import DeadlineExceeded, Unavailable

R = TypeVar("R")
SUSPECT_S = 5.0


class Zones:
    def __init__(self, addresses: Mapping[str, Sequence[str]] | None = None) -> None:
        self._named = {zone: tuple(named) for zone, named in (addresses or {}).items()}
        self._registered: dict[str, list[str]] = {}
        self._found: dict[str, tuple[str, ...]] = {}
        self._told: dict[str, tuple[str, ...]] = {}

    def register(self, zone: str, address: str) -> None:
        registered = self._registered.setdefault(zone, [])
        if address not in registered:
            registered.append(address)

    def unregister(self, zone: str, address: str) -> None:
        if address in self._registered.get(zone, ()):
            self._registered[zone].remove(address)

    def find(self, zone: str, addresses: Sequence[str]) -> None:
        """Those that presence names now for the zone."""
        self._found[zone] = tuple(addresses)

    def tell(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Those that control names now."""
        self._told = {zone: tuple(told) for zone, told in addresses.items()}

    def addresses(self, zone: str) -> list[str]:
        """Those of this process first: no network in between."""
        known = (self._registered, self._found, self._told, self._named)
        return list(dict.fromkeys(address for each in known for address in each.get(zone, ())))

    def vouched(self, address: str) -> bool:
        """Whether somebody names it who may: this process, control or the settings. Presence is none of them."""
        return any(
            address in addresses
            for known in (self._registered, self._told, self._named)
            for addresses in known.values()
        )

    def known(self) -> set[str]:
        """All addresses of all zones."""
        known = (self._registered, self._found, self._told, self._named)
        return {address for each in known for addresses in each.values() for address in addresses}


class ZoneCaller:
    """Takes the addresses of a zone in turn, and passes by one that can't be reached. One that did not answer in time comes last for
    `suspect_s`: a program that was stopped must not cost every other call its whole deadline."""

    def __init__(self, zones: Zones, monotonic: Callable[[], float], suspect_s: float = SUSPECT_S) -> None:
        self._zones = zones
        self._monotonic = monotonic
        self._suspect_s = suspect_s
        self._suspects: dict[str, float] = {}  # address → until when it comes last
        self._turns = count()

    async def call(self, zone: str, timeout_s: float, one: Callable[[str, float], Awaitable[R]]) -> R:
        """`one(address, seconds left)` at one address after the other until one takes it. Raises Unavailable when none does,
        DeadlineExceeded at the first that leaves the outcome open."""
        addresses = self._in_turn(zone)
        if not addresses:
            raise Unavailable(f"no receipts service is known for zone {zone!r}")
        began = self._monotonic()
        refused: Unavailable | None = None
        for address in addresses:
            left_s = timeout_s - (self._monotonic() - began)
            if left_s <= 0:
                break
            try:
                answer = await one(address, left_s)
            except DeadlineExceeded:
                self._suspects[address] = self._monotonic() + self._suspect_s
                raise
            except Unavailable as error:
                refused = error
            else:
                if self._suspects:
                    self._suspects.pop(address, None)
                return answer
        raise refused or Unavailable(f"no time left to reach zone {zone!r}")

    def _in_turn(self, zone: str) -> Sequence[str]:
        addresses = self._zones.addresses(zone)
        if len(addresses) < 2:
            return addresses
        first = next(self._turns) % len(addresses)
        addresses = [*addresses[first:], *addresses[:first]]
        if self._suspects:
            now = self._monotonic()
            self._suspects = {address: until for address, until in self._suspects.items() if until > now}
            addresses.sort(key=lambda address: address in self._suspects)
        return addresses
