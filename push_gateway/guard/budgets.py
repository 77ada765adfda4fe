"""What one session may send: frames and bytes a second, at once what comes together in some seconds. Pure; seconds, monotonic.

Token buckets whose level is one float, the moment at which they are full again. They are held here and not in the session, because a full
bucket needs no entry: of ten thousand idle sessions none has one. An ack of a push that was sent costs nothing, since as many come as we sent:
so the common read, one short ack, never asks here at all.
"""

SWEPT_AT_ONCE = 4
_ROUNDING_S = 1e-6


class Budgets:
    """A rate of 0 is no limit."""

    __slots__ = ("_burst_s", "_byte_s", "_frame_s", "_full_at")

    def __init__(self, frames_per_s: float, bytes_per_s: float, burst_s: float) -> None:
        self._frame_s = 1 / frames_per_s if frames_per_s else 0.0
        self._byte_s = 1 / bytes_per_s if bytes_per_s else 0.0
        self._burst_s = burst_s + _ROUNDING_S
        self._full_at: dict[object, tuple[float, float]] = {}  # frames, bytes; who spent last is last

    def __len__(self) -> int:
        return len(self._full_at)

    def spend(self, session: object, frames: int, size: int, now: float) -> str:
        """So many frames and bytes were read of it. "": all right; else what there were too many of. What is over has been taken all the same:
        the caller ends the session."""
        frames_at, bytes_at = self._full_at.pop(session, (now, now))
        frames_at = max(frames_at, now) + frames * self._frame_s
        bytes_at = max(bytes_at, now) + size * self._byte_s
        self._full_at[session] = frames_at, bytes_at
        self._sweep(now)
        if frames_at - now > self._burst_s:
            return "frames"
        return "bytes" if bytes_at - now > self._burst_s else ""

    def give_back(self, session: object, size: int) -> None:
        """So many bytes of what was spent were asked for by us."""
        found = self._full_at.get(session)
        if found is not None:
            self._full_at[session] = found[0], found[1] - size * self._byte_s

    def forget(self, session: object) -> None:
        self._full_at.pop(session, None)

    def sweep(self, now: float) -> None:
        """Called now and then, so that a quiet node holds nothing of sessions that were busy."""
        while self._sweep(now):
            pass

    def _sweep(self, now: float) -> bool:
        """Whether there may be more."""
        for _ in range(SWEPT_AT_ONCE):
            oldest = next(iter(self._full_at), None)
            if oldest is None or max(self._full_at[oldest]) > now:
                return False
            del self._full_at[oldest]
        return True
