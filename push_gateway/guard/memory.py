"""How much memory there is for this process, how much of it is used, and how many sessions fit into it.

The bound is a setting, or that of the control group (a container's), whichever is nearer. Beyond it the kernel ends the process, and with it every
session: refusing new ones before is the lesser evil.
"""

import os
from pathlib import Path
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_NO_LIMIT = 1 << 60  # version 1 says "none" by a number near 2⁶³


class Reading(NamedTuple):
    """Bytes. `limit` 0: none is known."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        return self.used / self.limit if self.limit else 0.0


def read(limit: int = 0, root: Path = Path("/")) -> Reading:
    """The nearer of two bounds: `limit` (0: none) for the resident memory of this process, and that of its control group or one above
    for all in it, without what the kernel can drop. Some file reads: tens of microseconds."""
    own = Reading(_resident(root), limit)
    return max([own, *_groups(root)], key=lambda reading: reading.share)


def _resident(root: Path) -> int:
    try:
        return int((root / "proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _groups(root: Path) -> list[Reading]:
    """cgroups(7). In a container the files of its own group lie at the top, whatever the path in /proc says."""
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file ")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
        else:
            continue
        folder = top / path.strip("/")
        for place in (folder, *folder.parents):
            if not place.is_relative_to(top):
                break
            limit = _number(_text(place / names[0]))
            if not 0 < limit < _NO_LIMIT:
                continue
            stat = _text(place / "memory.stat")
            droppable = next(
                (_number(line[len(names[2]) :]) for line in stat.splitlines() if line.startswith(names[2])), 0
            )
            found.append(Reading(max(0, _number(_text(place / names[1])) - droppable), limit))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(text: str) -> int:
    """0 for what is none, as `max`."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else 0


class Room:
    """How many sessions may be here. No bound while memory is not short (`ceiling` None). When it is, as many as there are: of a session that ends the
    next one can have the memory, though the process gives little of it back. Grows it all the same, the bound comes down. Pure."""

    GROWN = 1.005  # by so much it must have grown before the bound comes down again
    CALM = 0.95  # of what is short: below it, it isn't any more

    def __init__(self, share: float) -> None:
        self._share = share
        self._at = 0
        self.ceiling: int | None = None
        self.reading = Reading(0, 0)

    def note(self, reading: Reading, sessions: int) -> None:
        """One look, with the sessions that there are now."""
        self.reading = reading
        if reading.share < self._share or not self._share:
            if self.ceiling is not None and reading.share < self._share * self.CALM:
                self.ceiling = None
        elif self.ceiling is None:
            self.ceiling, self._at = sessions, reading.used
        elif reading.used > self._at * self.GROWN:
            self.ceiling, self._at = min(self.ceiling, sessions), reading.used
