"""Which zone owns which shard: how a receipt finds its way home from the id alone, and where an API may place new ids.

The map is a versioned value of control (key `shards`): `{"zones": {"default": [[0, 255]]}}`, ranges inclusive. Rows of messages never
move. A shard that changes hands therefore does so at an instant, and ids of an earlier time stay at home where they were made:
`{"zones": …, "moves": [{"until": <Unix ms>, "zones": {"east": [[0, 9]]}}]}` says whose the shards 0–9 were until then.
Pure: every program holds one in memory and swaps it whole when control has a newer version.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from push_core.clock import WallMs
from push_core.ids import SHARDS, shard_of, time_of

CONTROL_KEY = "shards"
DEFAULT_ZONE = "default"
NOBODY = ""


@dataclass(frozen=True, slots=True)
class Move:
    """Ids made before `until` in a shard that `owner` has a zone for are that zone's."""

    until: WallMs
    owner: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShardMap:
    """`owner[shard]` is the zone's name, or "" for a shard that nobody owns. `moves` in order of time."""

    version: int
    owner: tuple[str, ...]
    moves: tuple[Move, ...] = ()

    sole_zone: str = field(init=False, default=NOBODY)
    """The zone that owns every shard and always did; "" when there are several."""

    def __post_init__(self) -> None:
        if not self.moves and len(set(self.owner)) == 1:
            object.__setattr__(self, "sole_zone", self.owner[0])  # frozen for everybody else

    @classmethod
    def single(cls, zone: str = DEFAULT_ZONE) -> "ShardMap":
        return cls(0, (zone,) * SHARDS)

    @classmethod
    def from_value(cls, version: int, value: Mapping[str, object]) -> "ShardMap":
        """Read the value of control. Raises ValueError naming the zone and range at fault (bad type, outside 0..255, owned twice)."""
        owner = read_zones(value.get("zones"), "shards.zones")
        listed = value.get("moves", ())
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            raise ValueError("shards.moves must be a list of {until, zones}")
        moves = []
        for number, each in enumerate(listed):
            where = f"shards.moves[{number}]"
            if not isinstance(each, Mapping) or type(until := each.get("until")) is not int:
                raise ValueError(f"{where} must be an object of until (Unix ms) and zones")
            moves.append(Move(until, read_zones(each.get("zones"), f"{where}.zones")))
        return cls(version, owner, tuple(sorted(moves, key=lambda move: move.until)))

    def to_value(self) -> dict[str, object]:
        value: dict[str, object] = {"zones": ranges_of(self.owner)}
        if self.moves:
            value["moves"] = [{"until": move.until, "zones": ranges_of(move.owner)} for move in self.moves]
        return value

    def changed_to(self, owner: Sequence[str], *, at: WallMs, forget_before: WallMs) -> "ShardMap":
        """The map with other owners from the instant `at` on. Moves before `forget_before` are left out: no id of that age lives.
        Version stays, as control gives the next."""
        moved = tuple(had if had != gets else NOBODY for had, gets in zip(self.owner, owner, strict=True))
        kept = [move for move in self.moves if move.until >= forget_before]
        if any(moved):
            kept.append(Move(at, moved))
        return ShardMap(self.version, tuple(owner), tuple(sorted(kept, key=lambda move: move.until)))

    def zone_of(self, shard: int) -> str | None:
        """The zone that owns the shard now; None if nobody does (then the receipt is kept, retried and counted, never guessed)."""
        return self.owner[shard] or None

    def home_of(self, message_id: int) -> str | None:
        """The zone whose stores have the message: the shard's owner at the time that the id was made."""
        shard = shard_of(message_id)
        if self.moves:
            made = time_of(message_id)
            for move in self.moves:
                if made < move.until and move.owner[shard]:
                    return move.owner[shard]
        return self.owner[shard] or None

    def shards_of(self, zone: str) -> tuple[int, ...]:
        return tuple(shard for shard, owner in enumerate(self.owner) if owner == zone)

    def open_to(self, zone: str, now: WallMs) -> tuple[int, ...]:
        """Shards that the zone may make new ids in: its own, without those that another zone hands over only later."""
        coming = [move.owner for move in self.moves if move.until > now]
        return tuple(shard for shard in self.shards_of(zone) if all(owner[shard] in (NOBODY, zone) for owner in coming))

    def settled_at(self) -> WallMs:
        """When the last move is over: from then on `open_to` is `shards_of`."""
        return self.moves[-1].until if self.moves else 0


def read_zones(zones: Any, where: str) -> tuple[str, ...]:
    """Owners by shard from zone → list of [first, last]. Raises ValueError naming the zone and range at fault."""
    if not isinstance(zones, Mapping):
        raise ValueError(f"{where} must be an object of zone → list of [first, last]")
    owner = [NOBODY] * SHARDS
    for zone, ranges in zones.items():
        if not zone or not isinstance(zone, str):
            raise ValueError(f"{where}: {zone!r} is no name of a zone")
        if not isinstance(ranges, Sequence) or isinstance(ranges, str):
            raise ValueError(f"{where}.{zone} must be a list of [first, last]")
        for pair in ranges:
            if (
                not isinstance(pair, Sequence)
                or len(pair) != 2
                or not all(type(n) is int for n in pair)  # a bool is an int to isinstance
                or not 0 <= pair[0] <= pair[1] < SHARDS
            ):
                raise ValueError(f"{where}.{zone}: {pair!r} is not [first, last] within 0..{SHARDS - 1}")
            for shard in range(pair[0], pair[1] + 1):
                if owner[shard]:
                    raise ValueError(f"{where}.{zone}: shard {shard} belongs to {owner[shard]} already")
                owner[shard] = zone
    return tuple(owner)


def ranges_of(owner: Iterable[str]) -> dict[str, list[list[int]]]:
    """The opposite of `read_zones`."""
    zones: dict[str, list[list[int]]] = {}
    for shard, zone in enumerate(owner):
        if not zone:
            continue
        ranges = zones.setdefault(zone, [])
        if ranges and ranges[-1][1] == shard - 1:
            ranges[-1][1] = shard
        else:
            ranges.append([shard, shard])
    return zones


def shard_for_key(app: str, key: str, shards: Sequence[int]) -> int:
    """The shard for an idempotency key: the same (app, key) over the same list gives the same shard, so that a repeat meets its first."""
    return shards[zlib.crc32(f"{app}\0{key}".encode()) % len(shards)]
