"""What one fault did, from the logs of callers and devices. Pure: no clock, no I/O.

lost: answered with 202, and its device did not show it. Wire duplicates: frames of an id that had come. Screen duplicates: an id that a
device showed again, and a push that was accepted under a second id. Recovered: from that instant on nothing is outstanding that was due
more than `SLACK_S` before it, and the p99 of what is due in the `CALM_S` seconds after it is under `QUICK_S`.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.chaos_callers import Log, Sample
from bench.machine import percentile

QUICK_S = 0.2
CALM_S = 3.0
SLACK_S = 0.2
STEP_S = 0.05
BEFORE_S = 5.0
NEVER = float("inf")
RECOVERED_WITHIN_S = 15.0


@dataclass(frozen=True, slots=True)
class Window:
    """When the fault began and ended, and when offering did; monotonic seconds."""

    begin: float
    end: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    fault: str
    offered: int
    accepted: int
    lost: int
    wire_duplicates: int
    screen_duplicates: int
    astray: int
    refused: int
    recovered_s: float | None
    others_p99_ms: float | None
    p99_ms: float | None
    before_p99_ms: float | None
    """In the seconds before the fault: what the machine was good for just then."""
    fault_s: float
    refusals: dict[str, int] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    lost_ids: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def broken(self, *, others: bool) -> list[str]:
        """Promises that were not kept. `others`: whether the phones of other gateways must not notice."""
        said = []
        if self.lost:
            said.append(f"{self.lost} lost")
        if self.screen_duplicates:
            said.append(f"{self.screen_duplicates} twice on a screen")
        if self.astray:
            said.append(f"{self.astray} on another device's screen")
        if self.recovered_s is None or self.recovered_s > RECOVERED_WITHIN_S:
            said.append(f"not recovered within {RECOVERED_WITHIN_S:g} s")
        if others and (self.others_p99_ms is None or self.others_p99_ms >= QUICK_S * 1_000):
            said.append(f"p99 of the other gateways' phones {self.others_p99_ms} ms")
        return said


def figures(fault: str, log: Log, window: Window, *, others: Collection[str]) -> Figures:
    """`others`: devices that the fault should not concern."""
    samples = [sample for sample in log.samples if sample.due < window.until]
    accepted = {sample.id for sample in samples if sample.id is not None}
    gave_up = sum(log.refused.values())
    lost = [sample for sample in samples if sample.id is not None and not log.shown[sample.id]]
    # A refused push may have been accepted by a call that nobody heard the answer of; any further id is one push under two.
    claimed = {sample.id for sample in log.samples}
    unclaimed = max(0, sum(1 for message_id in log.shown if message_id not in claimed) - gave_up)
    after = window.end if window.end - window.begin > 1.0 else window.begin + 10.0
    before = [sample for sample in samples if window.begin - BEFORE_S <= sample.due < window.begin - 0.5]
    during = [sample for sample in samples if window.begin <= sample.due < after]
    return Figures(
        fault=fault,
        offered=len(samples),
        accepted=len(accepted),
        lost=len(lost),
        wire_duplicates=sum(times - 1 for times in log.frames.values()),
        screen_duplicates=sum(times - 1 for times in log.shown.values()) + unclaimed,
        astray=log.astray,
        refused=gave_up,
        recovered_s=_rounded(recovered_s(latencies(samples, log), window)),
        others_p99_ms=_ms(late for _, late in latencies([s for s in during if s.device in others], log)),
        p99_ms=_ms(late for _, late in latencies(during, log)),
        before_p99_ms=_ms(late for _, late in latencies(before, log)),
        fault_s=round(window.end - window.begin, 2),
        refusals=dict(log.refused),
        repeats=dict(log.repeats),
        lost_ids=[str(sample.id) for sample in lost[:20]],
    )


def timeline(log: Log, window: Window) -> list[str]:
    """A line for each second in which something was late, for people who look for the reason."""
    seconds: dict[int, list[float]] = {}
    for due, late in latencies(log.samples, log):
        seconds.setdefault(int((due - window.begin) // 1), []).append(late)
    lines = []
    for second, all_late in sorted(seconds.items()):
        slow = [each for each in all_late if each >= QUICK_S]
        if slow:
            middle = percentile(all_late, 50) or 0.0
            lines.append(
                f"{second:+4d} s: {len(all_late)} due, {len(slow)} late, p50 {middle:.2f} s, worst {max(slow):.2f} s"
            )
    return lines


def latencies(samples: Iterable[Sample], log: Log) -> list[tuple[float, float]]:
    """(when it was due, how late its frame came) in order; NEVER for what did not come. What callers gave up is left out."""
    found = []
    for sample in samples:
        came = NEVER if sample.id is None else log.received.get(sample.id, NEVER)
        found.append((sample.due, came - sample.due))
    return sorted(found)


def recovered_s(late: Sequence[tuple[float, float]], window: Window) -> float | None:
    """Seconds after the fault's end; None if it did not happen while pushes were offered. `late` as `latencies` gives it."""
    due = [moment for moment, _ in late]
    moment = window.end
    while moment + CALM_S <= window.until:
        if _calm(late, due, moment):
            return moment - window.end
        moment += STEP_S
    return None


def _calm(late: Sequence[tuple[float, float]], due: Sequence[float], moment: float) -> bool:
    first, last = bisect_left(due, moment), bisect_left(due, moment + CALM_S)
    worst = percentile((late for _, late in late[first:last]), 99)
    if worst is None or worst >= QUICK_S:
        return False
    older = bisect_left(due, moment - SLACK_S)
    return all(at + lateness <= moment for at, lateness in late[:older])


def _ms(late: Iterable[float]) -> float | None:
    worst = percentile(late, 99)
    return None if worst is None or worst == NEVER else round(worst * 1_000, 1)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
