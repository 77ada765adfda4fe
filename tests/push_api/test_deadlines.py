import asyncio

import pytest

from push_api.deadlines import within
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
