"""Devices whose connection drops again and again: after so many drops within so long they rest. Pure; seconds, monotonic.

Counted on this node alone, by devices that were signed in, so nobody can send another's device to rest. What we ended ourselves, for a
deploy or a token that expired, is no drop: see `OURS`.
"""

from array import array

from push_core.models import DeviceKey
from sdk_proto.wire.close import CloseCode

OURS = frozenset(
    {
        CloseCode.SHUTTING_DOWN,
        CloseCode.MAXIMUM_AGE,
        CloseCode.INTERNAL_ERROR,
        CloseCode.MIGRATE,
        CloseCode.TOKEN_EXPIRED,
        CloseCode.APP_DISABLED,
        CloseCode.DEVICE_BLOCKED,
    }
)
"""Closes that say nothing of the device or its network."""

SWEPT_AT_ONCE = 4  # entries looked at for each drop: more than it makes


class Flapping:
    """`drops` within `within_s` seconds, then `rest_s` of rest; `drops` 0: never. At most `size` devices are watched, and as many rest; at
    it the oldest is forgotten, and `forgotten` counts that."""

    def __init__(self, drops: int, within_s: float, rest_s: float, size: int) -> None:
        self._most = drops
        self._within_s = within_s
        self._rest_s = rest_s
        self._size = size
        self._drops: dict[DeviceKey, array[float]] = {}  # times, oldest first; the device with the newest drop last
        self._resting: dict[DeviceKey, float] = {}  # until when, in order
        self.forgotten = 0

    def __len__(self) -> int:
        """Devices that rest or are watched."""
        return len(self._drops) + len(self._resting)

    @property
    def resting(self) -> int:
        """Devices that rest, as of the last call."""
        return len(self._resting)

    def dropped(self, key: DeviceKey, now: float) -> bool:
        """A drop of the device's connection. True: with this one its rest begins."""
        if not self._most:
            return False
        self._sweep(now)
        since = now - self._within_s
        times = self._drops.pop(key, None)
        recent = array("d") if times is None else array("d", [at for at in times if at > since])
        recent.append(now)
        if len(recent) < self._most:
            self._drops[key] = recent
            self._bound(self._drops)
            return False
        self._resting.pop(key, None)
        self._resting[key] = now + self._rest_s
        self._bound(self._resting)
        return True

    def left_s(self, key: DeviceKey, now: float) -> float:
        """For how long the device still rests; 0.0: it doesn't."""
        if not self._resting:
            return 0.0
        return max(0.0, self._resting.get(key, now) - now)

    def sweep(self, now: float) -> None:
        """Forget what is over, all of it that lies at the front. Called now and then, so that a quiet node holds nothing."""
        while self._sweep(now):
            pass

    def _sweep(self, now: float) -> bool:
        """Whether there may be more."""
        since = now - self._within_s
        for _ in range(SWEPT_AT_ONCE):
            oldest = next(iter(self._drops), None)
            rested = next(iter(self._resting), None)
            calm = oldest is not None and self._drops[oldest][-1] <= since
            over = rested is not None and self._resting[rested] <= now
            if calm and oldest is not None:
                del self._drops[oldest]
            if over and rested is not None:
                del self._resting[rested]
            if not (calm or over):
                return False
        return True

    def _bound(self, entries: dict[DeviceKey, "array[float]"] | dict[DeviceKey, float]) -> None:
        if len(entries) > self._size:
            del entries[next(iter(entries))]
            self.forgotten += 1
