import asyncio
from contextlib import AsyncExitStack

import pytest

from push_core.errors import Overloaded
from push_core.rpc.in_flight import InFlight


async def test_a_call_gets_what_is_left_of_its_time() -> None:
    calls = InFlight(1)
    async with calls.one("gw-1", 5) as left_s:
        assert 4 < left_s <= 5
        assert not calls.idle
    assert calls.idle


async def test_without_room_in_time_it_says_overloaded_and_names_the_peer() -> None:
    calls = InFlight(1)
    async with calls.one("gw-1", 5):
        with pytest.raises(Overloaded, match="gw-1: 1 calls"):
            async with calls.one("gw-1", 0.01):
                pytest.fail("there was no room")
    async with calls.one("gw-1", 0.01):
        pass


async def test_room_is_given_back_after_an_error_and_after_a_cancellation() -> None:
    calls = InFlight(1)
    with pytest.raises(KeyError):
        async with calls.one("gw-1", 5):
            raise KeyError

    async def hold() -> None:
        async with calls.one("gw-1", 5):
            await asyncio.Event().wait()

    holding = [asyncio.create_task(hold()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in holding:
        task.cancel()
    await asyncio.wait(holding)
    assert calls.idle
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(calls.one("gw-1", 0.01))
