"""One timing wheel for everything that is due at a time: no timer and no task per session.

A hashed wheel (Varghese and Lauck, 1987, scheme 6) whose table is a dict from slot to entries, so that only slots in use cost
memory and an entry is never passed by before its turn. Arming, moving and cancelling are O(1). Pure: `now` is an argument,
in monotonic seconds. An entry knows its slot, so that cancelling leaves nothing behind that would keep a closed session alive.
"""

from abc import abstractmethod


class Timed:
    """What can be put on the wheel, once at a time. `armed` is the slot it is in; 0: none."""

    __slots__ = ("armed",)
    armed: int

    @abstractmethod
    def on_due(self, now: float) -> None:
        """Called once for each time that came; whoever wants another one arms again."""


class Wheel:
    """`resolution_s` is the step: an entry is due within one step after its time, never before it."""

    __slots__ = ("_passed", "_resolution_s", "_slots")

    def __init__(self, resolution_s: float, now: float) -> None:
        if resolution_s <= 0:
            raise ValueError(f"resolution_s must be above 0, got {resolution_s}")
        self._resolution_s = resolution_s
        self._passed = int(now / resolution_s)
        self._slots: dict[int, set[Timed]] = {}

    def __len__(self) -> int:
        """Entries that are armed."""
        return sum(map(len, self._slots.values()))

    def arm(self, entry: Timed, at: float) -> None:
        """Due at `at`; moved there if it is armed already. A time that has passed is the next step."""
        slot = max(int(at / self._resolution_s), self._passed) + 1
        if entry.armed == slot:
            return
        if entry.armed:
            self._remove(entry)
        entry.armed = slot
        entries = self._slots.get(slot)
        if entries is None:
            self._slots[slot] = {entry}
        else:
            entries.add(entry)

    def cancel(self, entry: Timed) -> None:
        """Nothing happens if it is not armed."""
        if entry.armed:
            self._remove(entry)
            entry.armed = 0

    def tick(self, now: float, most: int | None = None) -> list[Timed]:
        """Those that are due, disarmed, earliest first (within a step in no order). Of more than `most` the rest stay armed until it is asked
        again, so that whatever happens in between can still move or cancel them."""
        upto = int(now / self._resolution_s)
        if upto <= self._passed:
            return []
        if upto - self._passed <= len(self._slots):
            slots = [slot for slot in range(self._passed + 1, upto + 1) if slot in self._slots]
        else:  # the process slept, or little is armed
            slots = sorted(slot for slot in self._slots if slot <= upto)
        due: list[Timed] = []
        for slot in slots:
            entries = self._slots[slot]
            if most is not None and len(due) + len(entries) > most:
                due.extend([entries.pop() for _ in range(most - len(due))])
                upto = slot - 1
                break
            due.extend(self._slots.pop(slot))
        self._passed = upto
        for entry in due:
            entry.armed = 0
        return due

    def _remove(self, entry: Timed) -> None:
        entries = self._slots[entry.armed]
        entries.discard(entry)
        if not entries:
            del self._slots[entry.armed]
