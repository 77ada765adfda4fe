"""What a run of the backlog says, and when it has failed."""

from types import SimpleNamespace
from typing import Any

import pytest

from bench.backlog import failed, figures
from bench.load import Log
from sdk_proto.wire.frames import Push


def load(*late: float) -> Any:
    log = Log()
    for number, each in enumerate(late, start=1):
        log.due[number] = float(number)
        log.note(Push(id=number), True, number + each)
    return SimpleNamespace(log=log)


def found(low: Any, urgent: Any) -> dict[str, Any]:
    return figures(low, urgent, 1, 10.0, 14.0)


def test_urgent_latency_and_the_rate_of_low_ones() -> None:
    said = found(load(*[30.0] * 9), load(*[0.05] * 100))
    assert (said["backlog"], said["low_per_s"], said["drained_s"]) == (8, 2, 4.0)
    assert said["urgent_p99_ms"] == pytest.approx(50.0)
    assert not failed(said)


@pytest.mark.parametrize("case", ["slow", "lost", "twice", "stood still"])
def test_a_promise_that_is_broken_fails_the_run(case: str) -> None:
    low, urgent = load(*[30.0] * 9), load(*[0.05] * 100)
    if case == "slow":
        urgent = load(*[0.05] * 90, *[0.3] * 10)
    elif case == "lost":
        del low.log.received[3]
    elif case == "twice":
        urgent.log.shown[4] = 2
    else:
        low = load(1.0)
    assert failed(found(low, urgent))
