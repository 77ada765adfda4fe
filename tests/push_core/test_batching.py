import asyncio
import gc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core.batching import Batcher
from push_core.errors import Overloaded, Unavailable


class Work:
    """Doubles numbers; `gate` holds batches up, `batches` is what came in which lists."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self.now = 0
        self.most_at_once = 0

    async def __call__(self, items: Sequence[int]) -> list[int | BaseException]:
        self.batches.append(list(items))
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        try:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            return [item * 2 if item >= 0 else ValueError(f"negative: {item}") for item in items]
        finally:
            self.now -= 1


def batcher(
    work: Work,
    *,
    largest: int = 3,
    bound: int = 100,
    parallel: int = 1,
    linger_s: float = 0.0,
    every_s: float = 0.0,
) -> Batcher[int, int]:
    return Batcher(
        work, largest=largest, bound=bound, parallel=parallel, linger_s=linger_s, every_s=every_s, name="doubling"
    )


async def turns(n: int = 5) -> None:
    """Let everything that is ready run."""
    for _ in range(n):
        await asyncio.sleep(0)


# ── what becomes a batch ────────────────────────────────────────────────────────────────────────────────────────────


async def test_items_of_one_turn_share_a_batch_and_each_gets_its_own_result() -> None:
    work = Work()
    batches = batcher(work)
    assert await asyncio.gather(*(batches.submit(n) for n in (1, 2, 3))) == [2, 4, 6]
    assert work.batches == [[1, 2, 3]]


async def test_what_comes_alone_goes_at_once_and_what_comes_fast_goes_together() -> None:
    work = Work()
    batches = batcher(work, every_s=0.1)
    first = batches.submit(1)
    await turns()
    assert first.done()
    others = []
    for number in (2, 3):
        others.append(batches.submit(number))
        await turns()
    assert work.batches == [[1]]
    assert await asyncio.gather(*others) == [4, 6]
    assert work.batches == [[1], [2, 3]]


@pytest.mark.parametrize("parallel", [1, 2])
async def test_a_full_batch_does_not_wait_for_its_time_and_the_rest_does(parallel: int) -> None:
    work = Work()
    batches = batcher(work, every_s=60.0, parallel=parallel)
    assert await batches.submit(0) == 0
    for number in range(1, 5):
        batches.submit(number)
        await turns(1)
    await turns()
    assert work.batches == [[0], [1, 2, 3]]
    await batches.close()
    assert work.batches == [[0], [1, 2, 3], [4]]


async def test_what_gathered_while_a_batch_was_under_way_keeps_to_the_pace_too() -> None:
    work = Work()
    batches = batcher(work, every_s=0.1)
    work.gate.clear()
    first = batches.submit(1)
    await turns()
    second = batches.submit(2)
    work.gate.set()
    await first
    await turns()
    assert work.batches == [[1]]
    assert await second == 4


async def test_a_lone_item_waits_for_nobody() -> None:
    work = Work()
    assert await batcher(work).submit(1) == 2


async def test_batches_are_cut_at_the_largest_and_keep_the_order() -> None:
    work = Work()
    assert await asyncio.gather(*batcher(work).submit_all(range(7))) == [0, 2, 4, 6, 8, 10, 12]
    assert work.batches == [[0, 1, 2], [3, 4, 5], [6]]


async def test_while_a_batch_is_under_way_the_next_one_gathers() -> None:
    work = Work()
    batches = batcher(work)
    work.gate.clear()
    waiting = [batches.submit(0)]
    await turns()
    for n in (1, 2):
        waiting.append(batches.submit(n))
        await turns()
    assert (work.batches, len(batches)) == ([[0]], 2)
    work.gate.set()
    assert await asyncio.gather(*waiting) == [0, 2, 4]
    assert work.batches == [[0], [1, 2]]


async def test_no_more_than_the_given_number_run_at_a_time() -> None:
    work = Work()
    batches = batcher(work, largest=1, parallel=2)
    work.gate.clear()
    waiting = batches.submit_all(range(5))
    await turns()
    assert work.batches == [[0], [1]]
    work.gate.set()
    await asyncio.gather(*waiting)
    assert work.most_at_once == 2


async def test_with_linger_later_turns_share_the_batch_until_it_is_full() -> None:
    work = Work()
    batches = batcher(work, largest=3, linger_s=3_600)
    first, second = batches.submit(1), batches.submit(2)
    await turns()
    assert work.batches == []
    third = batches.submit(3)
    assert [await first, await second, await third] == [2, 4, 6]
    assert work.batches == [[1, 2, 3]]


async def test_linger_ends_by_itself() -> None:
    work = Work()
    assert await batcher(work, linger_s=0.001).submit(1) == 2


async def test_an_item_may_count_for_several() -> None:
    sizes: list[list[str]] = []

    async def work(items: Sequence[str]) -> list[int | BaseException]:
        sizes.append(list(items))
        return [len(item) for item in items]

    batches: Batcher[str, int] = Batcher(work, largest=4, bound=15, size=len)
    waiting = batches.submit_all(["aa", "bb", "c", "dddddd", "ee"])
    assert len(batches) == 13
    with pytest.raises(Overloaded, match="13 items"):
        batches.submit("fff")
    assert await asyncio.gather(*waiting) == [2, 2, 1, 6, 2]
    assert sizes == [["aa", "bb"], ["c"], ["dddddd"], ["ee"]]
    assert len(batches) == 0


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 5), st.integers(1, 3))
def test_whatever_comes_every_item_is_handled_once_in_order(items: list[int], largest: int, parallel: int) -> None:
    async def scenario() -> None:
        work = Work()
        batches = batcher(work, largest=largest, parallel=parallel)
        waiting = []
        for n, pause in enumerate(items):
            waiting.append(batches.submit(n))
            await turns(pause % 3)
        assert await asyncio.gather(*waiting) == [2 * n for n in range(len(items))]
        assert [n for batch in work.batches for n in batch] == list(range(len(items)))
        assert all(len(batch) <= largest for batch in work.batches)
        assert work.most_at_once <= parallel

    asyncio.run(scenario())


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_at_the_bound_items_are_refused_all_or_none() -> None:
    work = Work()
    batches = batcher(work, bound=3)
    work.gate.clear()
    under_way = batches.submit(0)
    await turns()
    waiting = batches.submit_all([1, 2])
    with pytest.raises(Overloaded, match=r"doubling: 2 items .*limit 3") as caught:
        batches.submit_all([3, 4])
    assert caught.value.status == 503
    waiting.append(batches.submit(5))
    work.gate.set()
    assert await asyncio.gather(under_way, *waiting) == [0, 2, 4, 10]
    assert work.batches == [[0], [1, 2, 5]]


# ── errors, cancellation ────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_error_of_one_item_is_its_own() -> None:
    batches = batcher(Work())
    results = await asyncio.gather(*batches.submit_all([1, -1, 2]), return_exceptions=True)
    assert (results[0], results[2]) == (2, 4)
    assert isinstance(results[1], ValueError)


@pytest.mark.parametrize("error", [Unavailable("down"), KeyError("a bug")], ids=["ours", "a bug"])
async def test_an_error_of_the_work_reaches_every_item_of_that_batch_and_no_other(error: Exception) -> None:
    work = Work()
    batches = batcher(work)
    work.error = error
    assert await asyncio.gather(*batches.submit_all([1, 2]), return_exceptions=True) == [error, error]
    work.error = None
    assert await batches.submit(3) == 6


async def test_a_caller_that_is_cancelled_leaves_the_batch_alone() -> None:
    work = Work()
    batches = batcher(work)
    work.gate.clear()

    async def call(n: int) -> int:
        return await batches.submit(n)

    gone, staying = asyncio.create_task(call(1)), asyncio.create_task(call(2))
    await turns()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    work.gate.set()
    assert await staying == 4
    assert work.batches == [[1, 2]]


async def test_what_was_taken_is_done_even_if_its_caller_left_before_the_batch_began() -> None:
    work = Work()
    batches = batcher(work)
    batches.submit(1).cancel()
    await batches.close()
    assert work.batches == [[1]]


async def test_an_error_that_nobody_waits_for_any_more_makes_no_noise() -> None:
    noise: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context["message"]))
    work = Work()
    batches = batcher(work)
    work.error = Unavailable("down")
    batches.submit(1)
    await batches.close()
    gc.collect()
    assert noise == []


@pytest.mark.parametrize("answers", [[], [1, 2, 3], None], ids=["too few", "too many", "none"])
async def test_work_that_answers_wrongly_leaves_nobody_waiting(answers: list[int] | None) -> None:
    async def wrong(items: Sequence[int]) -> list[int | BaseException]:
        return answers  # type: ignore[return-value]

    batches: Batcher[int, int] = Batcher(wrong, largest=5, bound=5)
    results = await asyncio.wait_for(asyncio.gather(*batches.submit_all([1, 2]), return_exceptions=True), 5)
    assert all(isinstance(result, RuntimeError | TypeError) for result in results)


async def test_work_that_met_a_cancellation_of_something_else_fails_its_batch_and_goes_on() -> None:
    work = Work()
    batches = batcher(work, largest=1)
    work.error = asyncio.CancelledError()
    waiting = batches.submit_all([1, 2])
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    work.error = None
    assert await batches.submit(3) == 6


async def test_when_the_loop_ends_nobody_is_left_waiting() -> None:
    work = Work()
    batches = batcher(work)
    work.gate.clear()
    waiting = [batches.submit(1)]
    await turns()
    waiting.append(batches.submit(2))
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "doubling"]
    task.cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert (work.batches, len(batches)) == ([[1]], 0)


# ── closing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_closing_takes_nothing_more_and_finishes_what_was_taken() -> None:
    work = Work()
    batches = batcher(work, largest=2, linger_s=3_600)
    waiting = batches.submit_all(range(5))
    await batches.close()
    assert [future.result() for future in waiting] == [0, 2, 4, 6, 8]
    with pytest.raises(Unavailable, match="doubling is shut down"):
        batches.submit(9)
    await batches.close()
