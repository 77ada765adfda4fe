import asyncio
from collections.abc import Awaitable, Callable

import pytest
import structlog

from push_core.backoff import Backoff
from push_core.errors import DeadlineExceeded
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.tasks import Crew


@pytest.fixture
def metrics() -> MemoryMetrics:
    return MemoryMetrics()


@pytest.fixture
def crew(metrics: MemoryMetrics, monkeypatch: pytest.MonkeyPatch) -> Crew:
    monkeypatch.setattr(Backoff, "next_s", lambda self: 0.0)  # the pauses are Backoff's own affair
    return Crew("gateway", metrics)


def failing_twice(then: asyncio.Event, error: BaseException) -> Callable[[], Awaitable[None]]:
    runs = 0

    async def loop() -> None:
        nonlocal runs
        runs += 1
        if runs <= 2:
            raise error
        then.set()
        await asyncio.Event().wait()

    return loop


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), asyncio.CancelledError()], ids=["a bug", "a cancellation of something else"]
)
async def test_a_kept_loop_that_fails_is_counted_and_starts_again(
    crew: Crew, metrics: MemoryMetrics, error: BaseException
) -> None:
    well = asyncio.Event()
    crew.keep("relay", failing_twice(well, error))
    await asyncio.wait_for(well.wait(), 5)
    assert metrics.counted(Metric.TASK_ERRORS, task="gateway.relay") == 2
    await crew.stop()


async def test_a_kept_loop_that_returns_runs_again_and_lets_others_in(crew: Crew) -> None:
    runs = 0

    async def loop() -> None:
        nonlocal runs
        runs += 1

    crew.keep("poll", loop)
    for _ in range(10):
        await asyncio.sleep(0)
    await crew.stop()
    assert runs >= 3


async def test_failures_in_a_row_pause_longer_and_longer(
    metrics: MemoryMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings: list[float] = []
    enough = asyncio.Event()

    def next_s(self: Backoff) -> float:
        ceilings.append(self.ceiling_s)
        self.attempt += 1
        if len(ceilings) == 8:
            enough.set()
        return 0.0

    monkeypatch.setattr(Backoff, "next_s", next_s)

    async def loop() -> None:
        raise ValueError

    crew = Crew("gateway", metrics)
    crew.keep("relay", loop)
    await asyncio.wait_for(enough.wait(), 5)
    await crew.stop()
    assert ceilings[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


async def test_an_outage_is_told_in_a_line_and_a_bug_with_its_traceback(crew: Crew, metrics: MemoryMetrics) -> None:
    async def outage() -> None:
        raise DeadlineExceeded("the store did not answer within 5 s")

    async def bug() -> None:
        raise ValueError("a bug")

    with structlog.testing.capture_logs() as lines:
        crew.start("relay", outage())
        crew.start("sweep", bug())
        assert await crew.finish(5)
    by_task = {line["task"]: line for line in lines}
    assert by_task["gateway.relay"]["log_level"] == "warning"
    assert by_task["gateway.relay"]["reason"] == "the store did not answer within 5 s"
    assert "exc_info" not in by_task["gateway.relay"]
    assert by_task["gateway.sweep"]["log_level"] == "error"
    assert isinstance(by_task["gateway.sweep"]["exc_info"], ValueError)
    assert metrics.counted(Metric.TASK_ERRORS) == 2


async def test_work_started_once_is_run_once_and_its_error_counted(crew: Crew, metrics: MemoryMetrics) -> None:
    done: list[str] = []

    async def good() -> None:
        done.append("good")

    async def bad() -> None:
        done.append("bad")
        raise ValueError

    crew.start("good", good())
    crew.start("bad", bad())
    assert await crew.finish(5)
    assert sorted(done) == ["bad", "good"]
    assert metrics.counted(Metric.TASK_ERRORS) == 1
    assert await crew.finish(5)


async def test_finish_says_whether_all_ended_in_time(crew: Crew) -> None:
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()

    crew.start("work", work())
    assert not await crew.finish(0.01)
    gate.set()
    assert await crew.finish(5)


async def test_stop_cancels_everything_and_waits_for_its_cleaning_up(crew: Crew, metrics: MemoryMetrics) -> None:
    cleaned: list[str] = []
    running = asyncio.Event()

    async def work() -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("done")

    crew.keep("kept", work)
    crew.start("once", work())
    await running.wait()
    await asyncio.sleep(0)
    await crew.stop()
    assert cleaned == ["done", "done"]
    assert metrics.counted(Metric.TASK_ERRORS) == 0
    await crew.stop()


async def test_tasks_carry_the_names_of_program_and_loop(crew: Crew) -> None:
    async def loop() -> None:
        await asyncio.Event().wait()

    crew.keep("relay", loop)
    assert "gateway.relay" in {task.get_name() for task in asyncio.all_tasks()}
    await crew.stop()
