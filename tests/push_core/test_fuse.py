import asyncio
import contextlib

import pytest

from push_core.breaker import BreakerTerms
from push_core.errors import DeadlineExceeded, Overloaded, TacoError, Unavailable, UserError
from push_core.fuse import LONG_S, Fuse
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from tests.support.hand_clock import HandClock

TERMS = BreakerTerms(probe_s=1.0, recover_s=1.0)


class Neighbour:
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0
        self.open = asyncio.Event()
        self.open.set()

    async def ask(self) -> str:
        self.calls += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return "answer"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def neighbour() -> Neighbour:
    return Neighbour()


@pytest.fixture
def metrics() -> MemoryMetrics:
    return MemoryMetrics()


@pytest.fixture
def fuse(clock: HandClock, metrics: MemoryMetrics) -> Fuse:
    return Fuse("redis", "redis://there:6379", TERMS, metrics, clock.monotonic)


async def ask(fuse: Fuse, neighbour: Neighbour, times: int, *, critical: bool = False) -> int:
    """How many were answered with an error or not at all."""
    failed = 0
    for _ in range(times):
        try:
            await fuse.run(neighbour.ask, critical=critical)
        except TacoError:
            failed += 1
    return failed


@pytest.mark.parametrize("error", [Unavailable("down"), DeadlineExceeded("no answer")])
async def test_a_neighbour_that_fails_is_soon_not_asked_any_more(
    fuse: Fuse, neighbour: Neighbour, metrics: MemoryMetrics, error: Unavailable
) -> None:
    neighbour.error = error
    assert await ask(fuse, neighbour, 500) == 500
    assert neighbour.calls < 100
    assert metrics.counted(Metric.BREAKER_REFUSED, target="redis") == 500 - neighbour.calls


async def test_a_refused_call_is_certainly_not_done_and_says_whose_fault_it_is(
    fuse: Fuse, neighbour: Neighbour
) -> None:
    neighbour.error = DeadlineExceeded("no answer")
    await ask(fuse, neighbour, 500)
    refused = 0
    for _ in range(50):
        calls = neighbour.calls
        with pytest.raises(Unavailable) as told:
            await fuse.run(neighbour.ask)
        if neighbour.calls == calls:
            refused += 1
            assert type(told.value) is Unavailable
            assert told.value.message == "redis://there:6379: not asked, it failed lately"
    assert refused > 30


@pytest.mark.parametrize(
    "error", [UserError("no such thing", code="not_found"), TacoError("a fault of ours"), Overloaded("full")]
)
async def test_an_answer_is_no_failure_whatever_it_says(fuse: Fuse, neighbour: Neighbour, error: TacoError) -> None:
    neighbour.error = error
    await ask(fuse, neighbour, 500)
    assert neighbour.calls == 500


async def test_what_keeps_something_alive_always_goes(fuse: Fuse, neighbour: Neighbour) -> None:
    neighbour.error = Unavailable("down")
    await ask(fuse, neighbour, 500)
    before = neighbour.calls
    await ask(fuse, neighbour, 100, critical=True)
    assert neighbour.calls == before + 100


async def test_a_critical_call_that_succeeds_lets_the_others_in(
    fuse: Fuse, neighbour: Neighbour, clock: HandClock
) -> None:
    neighbour.error = Unavailable("down")
    await ask(fuse, neighbour, 500)
    neighbour.error = None
    for _ in range(3):
        assert await ask(fuse, neighbour, 1, critical=True) == 0
        clock.advance(0.5)
    assert await ask(fuse, neighbour, 100) == 0


async def test_a_caller_that_goes_away_at_once_tells_nothing_of_the_neighbour(
    fuse: Fuse, neighbour: Neighbour, clock: HandClock
) -> None:
    neighbour.open.clear()
    await hang_up(fuse, neighbour, clock, after_s=LONG_S / 2, times=100)
    neighbour.open.set()
    before = neighbour.calls
    assert await ask(fuse, neighbour, 100) == 0
    assert neighbour.calls == before + 100


async def test_a_caller_that_waited_for_long_in_vain_does(fuse: Fuse, neighbour: Neighbour, clock: HandClock) -> None:
    neighbour.open.clear()
    await hang_up(fuse, neighbour, clock, after_s=LONG_S, times=100)
    neighbour.open.set()
    assert await ask(fuse, neighbour, 100) > 20


async def hang_up(fuse: Fuse, neighbour: Neighbour, clock: HandClock, *, after_s: float, times: int) -> None:
    waiting = [asyncio.create_task(fuse.run(neighbour.ask)) for _ in range(times)]
    await asyncio.sleep(0)
    clock.advance(after_s)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def test_without_terms_everything_passes(neighbour: Neighbour) -> None:
    fuse = Fuse("messages", "sqlite", None)
    neighbour.error = Unavailable("down")
    await ask(fuse, neighbour, 500)
    assert neighbour.calls == 500


async def test_it_is_said_once_when_refusing_begins_and_once_when_it_is_over(
    fuse: Fuse, neighbour: Neighbour, clock: HandClock, capsys: pytest.CaptureFixture[str]
) -> None:
    neighbour.error = Unavailable("down")
    await ask(fuse, neighbour, 500)
    neighbour.error = None
    for _ in range(30):
        clock.advance(0.5)
        await ask(fuse, neighbour, 10)
    said = capsys.readouterr().out
    assert said.count("calls to a neighbour that fails are refused") == 1
    assert said.count("calls to a neighbour pass again") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "done"),
        (Unavailable("down"), "down"),
        (DeadlineExceeded("no answer"), "no_answer"),
        (Overloaded("full"), "busy"),
        (UserError("no such thing", code="not_found"), "error"),
        (RuntimeError("a defect"), "error"),
    ],
)
@pytest.mark.parametrize("terms", [TERMS, None])
async def test_every_call_is_counted_and_timed_by_what_became_of_it(
    neighbour: Neighbour,
    clock: HandClock,
    metrics: MemoryMetrics,
    terms: BreakerTerms | None,
    error: Exception | None,
    outcome: str,
) -> None:
    fuse = Fuse("redis", "redis://there", terms, metrics, clock.monotonic)
    neighbour.error = error
    with contextlib.suppress(TacoError, RuntimeError):
        await fuse.run(neighbour.ask)
    assert metrics.counted(Metric.NEIGHBOUR_CALLS, target="redis", outcome=outcome) == 1
    assert metrics.timed(Metric.NEIGHBOUR_SECONDS, target="redis").calls == 1
