"""Which zone owns which shard: how a receipt finds its way home from the id alone, and where an API may place new ids.

The map is a versioned value of control (key `shards`): `{"zones": {"default": [[0, 255]]}}`, ranges inclusive.
Pure: every program holds one in memory and swaps it whole when control has a newer version.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from push_core.ids import SHARDS

CONTROL_KEY = "shards"
DEFAULT_ZONE = "default"


@dataclass(frozen=True, slots=True)
class ShardMap:
    """`owner[shard]` is the zone's name, or "" for a shard that nobody owns."""

    version: int
    owner: tuple[str, ...]

    @classmethod
    def single(cls, zone: str = DEFAULT_ZONE) -> "ShardMap":
        return cls(0, (zone,) * SHARDS)

    @classmethod
    def from_value(cls, version: int, value: Mapping[str, object]) -> "ShardMap":
        """Read the value of control. Raises ValueError naming the zone and range at fault (bad type, outside 0..255, owned twice)."""
        zones = value.get("zones")
        if not isinstance(zones, Mapping):
            raise ValueError("shards.zones must be an object of zone → list of [first, last]")
        owner = [""] * SHARDS
        for zone, ranges in zones.items():
            if not zone or not isinstance(zone, str):
                raise ValueError(f"shards.zones: {zone!r} is no name of a zone")
            if not isinstance(ranges, Sequence) or isinstance(ranges, str):
                raise ValueError(f"shards.zones.{zone} must be a list of [first, last]")
            for pair in ranges:
                if (
                    not isinstance(pair, Sequence)
                    or len(pair) != 2
                    or not all(type(n) is int for n in pair)  # a bool is an int to isinstance
                    or not 0 <= pair[0] <= pair[1] < SHARDS
                ):
                    raise ValueError(f"shards.zones.{zone}: {pair!r} is not [first, last] within 0..{SHARDS - 1}")
                for shard in range(pair[0], pair[1] + 1):
                    if owner[shard]:
                        raise ValueError(f"shards.zones.{zone}: shard {shard} belongs to {owner[shard]} already")
                    owner[shard] = zone
        return cls(version, tuple(owner))

    def to_value(self) -> dict[str, object]:
        zones: dict[str, list[list[int]]] = {}
        for shard, zone in enumerate(self.owner):
            if not zone:
                continue
            ranges = zones.setdefault(zone, [])
            if ranges and ranges[-1][1] == shard - 1:
                ranges[-1][1] = shard
            else:
                ranges.append([shard, shard])
        return {"zones": zones}

    def zone_of(self, shard: int) -> str | None:
        """The zone that owns the shard; None if nobody does (then the receipt is kept, retried and counted, never guessed)."""
        return self.owner[shard] or None

    def shards_of(self, zone: str) -> tuple[int, ...]:
        return tuple(shard for shard, owner in enumerate(self.owner) if owner == zone)


def shard_for_key(app: str, key: str, shards: Sequence[int]) -> int:
    """The shard for an idempotency key: the same (app, key) over the same list gives the same shard, so that a repeat meets its first."""
    return shards[zlib.crc32(f"{app}\0{key}".encode()) % len(shards)]
