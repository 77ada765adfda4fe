import asyncio
import contextlib

import pytest

from push_api.deadlines import Deadlines, within
from push_core.errors import DeadlineExceeded


async def test_what_is_done_in_time_is_the_result() -> None:
    async def quick() -> int:
        return 7

    assert await within(5.0, "the store", quick()) == 7


async def test_what_hangs_is_given_up_and_named() -> None:
    with pytest.raises(DeadlineExceeded, match=r"the store: no answer within 0.01 s"):
        await within(0.01, "the store", asyncio.Event().wait())


async def test_a_cancelled_caller_is_cancelled_not_late() -> None:
    task = asyncio.create_task(within(5.0, "the store", asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_takes_longer_than_its_time_is_told_so() -> None:
    deadlines = Deadlines(0.01)
    with pytest.raises(TimeoutError), deadlines.one():
        await asyncio.Event().wait()
    assert len(deadlines) == 0
    assert (task := asyncio.current_task()) is not None
    assert task.cancelling() == 0  # nothing of it stays with the task


async def test_what_is_done_in_time_hears_nothing_later() -> None:
    deadlines = Deadlines(0.01)
    for _ in range(3):
        with deadlines.one():
            pass
    await asyncio.sleep(0.03)
    assert len(deadlines) == 0


async def test_each_of_many_ends_at_its_own_time() -> None:
    deadlines, ended = Deadlines(0.05), list[int]()

    async def hang(number: int) -> None:
        with contextlib.suppress(TimeoutError), deadlines.one():
            await asyncio.Event().wait()
        ended.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(hang(number))
            await asyncio.sleep(0.01)
        assert ended == []
    assert ended == [0, 1, 2]


async def test_time_can_be_that_of_others_from_now_on() -> None:
    short, long = Deadlines(0.01), Deadlines(60.0)
    with short.one() as deadline:
        deadline.start_over(long)
        assert (len(short), len(long)) == (0, 1)
        await asyncio.sleep(0.03)
    assert len(long) == 0


async def test_a_task_that_others_cancel_too_is_cancelled_not_late() -> None:
    deadlines = Deadlines(0.01)

    async def hang() -> None:
        with deadlines.one():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task.cancel()  # while the deadline's own is on its way
                raise

    task = asyncio.create_task(hang())
    with pytest.raises(asyncio.CancelledError):
        await task
