"""What a process costs the machine, read from the kernel: memory, files, CPU, room on its disk. Cheap enough for the loop: tens of µs."""

import os
import time
from pathlib import Path

_FILES = Path("/proc/self/fd")


def memory() -> tuple[int, int]:
    """Resident bytes now, and their highest so far; (0, 0) where /proc is missing."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0, 0
    found = {name: value for name, _, value in (line.partition(":") for line in status.splitlines())}
    return _kib(found.get("VmRSS", "0")), _kib(found.get("VmHWM", "0"))


def open_files() -> int:
    """Descriptors; -1 where /proc is missing. Linux 6.2 and later knows the number without listing them."""
    try:
        return _FILES.stat().st_size or sum(1 for _ in _FILES.iterdir()) - 1
    except OSError:
        return -1


def cpu_ms() -> int:
    """User and system time of all threads so far."""
    return time.process_time_ns() // 1_000_000


def free_bytes(folder: Path) -> int | None:
    """Room for us on the disk of a folder, or of the nearest one above it that exists; None when it can't be asked."""
    for place in (folder.absolute(), *folder.absolute().parents):
        try:
            found = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return found.f_bavail * found.f_frsize
    return None


def _kib(text: str) -> int:
    number = text.split()[0] if text.split() else "0"
    return int(number) * 1_024 if number.isdigit() else 0
