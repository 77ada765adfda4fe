"""Message ids: 63 bits that sort by time and carry the way home.

    41 bits milliseconds since 2024-01-01 UTC · 8 shard · 7 issuer · 7 sequence

The shard says which zone's `Receipts` own the message (`push_core.shards`); the issuer is leased from the message store
so that two processes never share one (`Messages.lease_issuer`). Clients treat an id as opaque; in JSON it is a string.
"""

from push_core.clock import WallMs
from push_core.errors import Unavailable

EPOCH_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
SHARDS = 256
ISSUERS = 128
SEQUENCES = 128
MAX_ID = (1 << 63) - 1

_TIME_SHIFT = 22
_SHARD_SHIFT = 14
_ISSUER_SHIFT = 7
_MAX_MS = (1 << 41) - 1


def make_id(wall_ms: WallMs, shard: int, issuer: int, sequence: int) -> int:
    """Put the four parts together. Raises ValueError for a part outside its bits."""
    since = wall_ms - EPOCH_MS
    if not (0 <= since <= _MAX_MS and 0 <= shard < SHARDS and 0 <= issuer < ISSUERS and 0 <= sequence < SEQUENCES):
        raise ValueError(f"part of an id out of range: {wall_ms=} {shard=} {issuer=} {sequence=}")
    return since << _TIME_SHIFT | shard << _SHARD_SHIFT | issuer << _ISSUER_SHIFT | sequence


def time_of(message_id: int) -> WallMs:
    """Unix milliseconds at which the id was made."""
    return (message_id >> _TIME_SHIFT) + EPOCH_MS


def shard_of(message_id: int) -> int:
    return message_id >> _SHARD_SHIFT & (SHARDS - 1)


def issuer_of(message_id: int) -> int:
    return message_id >> _ISSUER_SHIFT & (ISSUERS - 1)


def sequence_of(message_id: int) -> int:
    return message_id & (SEQUENCES - 1)


def first_id_at(wall_ms: WallMs) -> int:
    """The lowest id that can be made at `wall_ms`: the bound of a range over time. Earlier than the epoch gives 0."""
    return max(0, wall_ms - EPOCH_MS) << _TIME_SHIFT


def parse_id(text: str) -> int | None:
    """The id that a client sent as text, or None if it can't be one (RFC-free: plain decimal, no sign, no spaces)."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    value = int(text)
    return value if value <= MAX_ID else None


class NotIssuing(Unavailable):
    """No id can be made now: the issuer's lease is lost, or the clock stepped back further than is waited for."""


class Issuer:
    """Makes the ids of one process. Pure: the caller brings the time and does the waiting.

    `high_water_ms` is the mark under which an earlier holder of this issuer number may have made ids; none is made at or
    below it. `max_step_back_ms` is how far the wall clock may be behind the newest id before ids are refused rather than
    delayed. One sequence runs per shard, so that one millisecond holds 128 ids of each shard.
    """

    __slots__ = ("_last_ms", "_max_step_back_ms", "_newest_ms", "_next_sequence", "issuer")

    def __init__(self, issuer: int, high_water_ms: WallMs = 0, max_step_back_ms: int = 2_000) -> None:
        if not 0 <= issuer < ISSUERS:
            raise ValueError(f"issuer must be 0..{ISSUERS - 1}, got {issuer}")
        self.issuer = issuer
        self._newest_ms = high_water_ms
        self._max_step_back_ms = max_step_back_ms
        self._last_ms = [high_water_ms] * SHARDS
        self._next_sequence = [SEQUENCES] * SHARDS  # as if used up: the first id comes after the mark

    @property
    def newest_ms(self) -> WallMs:
        """The newest millisecond in which an id was made: what a lease renewal stores as the high-water mark."""
        return self._newest_ms

    def try_make(self, shard: int, now_ms: WallMs) -> int | None:
        """An id of `shard`, or None when this millisecond's sequence is used up or lies behind the last id: try again in 1 ms.

        Raises NotIssuing when the clock is behind the newest id by more than the bound.
        """
        if now_ms + self._max_step_back_ms < self._newest_ms:
            raise NotIssuing(
                f"the clock is {self._newest_ms - now_ms} ms behind the newest id (limit {self._max_step_back_ms} ms); set the clock right"
            )
        last = self._last_ms[shard]
        if now_ms > last:
            self._last_ms[shard] = now_ms
            self._next_sequence[shard] = 1
            if now_ms > self._newest_ms:
                self._newest_ms = now_ms
            return make_id(now_ms, shard, self.issuer, 0)
        sequence = self._next_sequence[shard]
        if now_ms < last or sequence >= SEQUENCES:
            return None
        self._next_sequence[shard] = sequence + 1
        return make_id(now_ms, shard, self.issuer, sequence)
