"""What every benchmark prints beside its figures: the machine, the interpreter, the method, and CPU per operation.

Absolute times differ from machine to machine and from minute to minute on a shared one; CPU time of a process per operation differs far
less, so it is what budgets are held against. `Header.reference_us` is the cost of a fixed piece of pure Python in the same run: two runs
whose references differ much were not taken under the same conditions.

Knows Linux (`/proc`); knows nothing of the product.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_LIBRARIES = (
    *("uvloop", "websockets", "msgspec", "grpcio", "protobuf", "SQLAlchemy", "uvicorn", "starlette"),
    *("PyMySQL", "redis", "hiredis", "aiormq"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """`method` says in a sentence or two how the figures below it were taken; `settings` what the run was started with."""

    bench: str
    method: str
    settings: dict[str, object]
    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    libraries: dict[str, str]
    reference_us: float

    def lines(self) -> list[str]:
        settings = " ".join(f"{key}={value}" for key, value in self.settings.items())
        libraries = ", ".join(f"{name} {version}" for name, version in self.libraries.items())
        return [
            f"# {self.bench} {settings}".rstrip(),
            f"# machine: {self.cpu}, {self.cores} cores usable, {self.memory_gib:.1f} GiB, {self.system}",
            f"# {self.python}; {libraries}",
            f"# reference: {self.reference_us:.0f} µs for a fixed piece of pure Python",
            f"# method: {self.method}",
        ]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def header(bench: str, method: str, settings: Mapping[str, object] | None = None) -> Header:
    return Header(
        bench=bench,
        method=method,
        settings=dict(settings or {}),
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries={name: version for name in _LIBRARIES if (version := _version(name))},
        reference_us=_reference_us(),
    )


def print_header(
    bench: str, method: str, settings: Mapping[str, object] | None = None, *, as_json: bool = False
) -> Header:
    """Print the header: as comment lines, or with `as_json` on stderr, so that stdout stays for the machine."""
    made = header(bench, method, settings)
    print("\n".join(made.lines()), file=sys.stderr if as_json else sys.stdout, flush=True)
    return made


def print_json(result: Mapping[str, object]) -> None:
    """The result as one JSON object on the last line of stdout."""
    print(json.dumps(result, separators=(",", ":"), ensure_ascii=False), flush=True)


def cpu_seconds(pid: int | None = None) -> float:
    """User and system CPU time of a live process with all its threads (its ended children are not counted); this one by default.

    Another process is read from `/proc/<pid>/stat` in steps of 10 ms (proc(5), fields 14 and 15). Raises ProcessLookupError."""
    if pid is None or pid == os.getpid():
        return time.process_time()
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    fields = text[text.rindex(")") + 2 :].split()  # the name in brackets may hold spaces
    return (int(fields[11]) + int(fields[12])) / _TICKS


def descendants(pid: int) -> list[int]:
    """Live processes that it started, and theirs."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        children.setdefault(int(text[text.rindex(")") + 2 :].split()[1]), []).append(int(path.parent.name))
    found, look = [], [pid]
    while look:
        begun = children.get(look.pop(), [])
        found += begun
        look += begun
    return found


def resident_kib(pid: int | None = None) -> int:
    """Resident memory of a process in KiB (`VmRSS`). Raises ProcessLookupError."""
    try:
        text = Path(f"/proc/{pid or 'self'}/status").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


def fdatasync_us(folder: Path, times: int = 100) -> float:
    """What a durable write costs in a folder: the median of so many fdatasync(2) of 4 KiB, in microseconds. A disk that answers at once
    makes every store look fast, so a figure of a durable store is printed with this one."""
    path = folder / ".fdatasync"
    spent = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for _ in range(times):
            os.write(descriptor, bytes(4_096))
            before = time.perf_counter()
            os.fdatasync(descriptor)
            spent.append((time.perf_counter() - before) * 1e6)
    finally:
        os.close(descriptor)
        path.unlink()
    return round(percentile(spent, 50) or 0.0, 1)


class CpuMeter:
    """CPU that named groups of processes spend between `start` and `stop`.

    meter = CpuMeter({"all": [server.pid], "client": [os.getpid()]})
    meter.start(); …; meter.stop(); meter.us_per(30_000)  →  {"all": 214.0, "client": 71.5}
    """

    def __init__(self, groups: Mapping[str, Iterable[int]]) -> None:
        self._groups = {name: tuple(pids) for name, pids in groups.items()}
        self._before: dict[str, float] = {}
        self.spent_s: dict[str, float] = {}

    def start(self) -> None:
        self._before = self._read()

    def stop(self) -> None:
        after = self._read()
        self.spent_s = {name: after[name] - self._before[name] for name in self._groups}

    def us_per(self, operations: int) -> dict[str, float]:
        """Microseconds of CPU per operation and group; empty for no operations."""
        return {name: round(spent * 1e6 / operations, 1) for name, spent in self.spent_s.items()} if operations else {}

    def _read(self) -> dict[str, float]:
        return {name: sum(cpu_seconds(pid) for pid in pids) for name, pids in self._groups.items()}


def cores_apart() -> tuple[int, int] | None:
    """A core for what is measured and one for who measures it; None where there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else None


def pin(pid: int, core: int) -> None:
    """All threads of a process that exist already, and those that it will start, run on this core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The nearest-rank percentile; None of nothing.

    >>> percentile([3.0, 1.0, 2.0], 50), percentile([], 99)
    (2.0, None)
    """
    ordered = sorted(values)
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(rank) - 1)]


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    return next(
        (line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")),
        platform.machine(),
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _reference_us() -> float:
    """The quickest of seven runs, in CPU time, so that a neighbour's load shows little."""

    def once() -> float:
        before = time.process_time_ns()
        table: dict[int, str] = {}
        for number in range(5_000):
            table[number % 97] = f"{number}:{len(table)}"
        return (time.process_time_ns() - before) / 1_000

    return min(once() for _ in range(7))
