"""A deadline on every call to a neighbour, as the error that the contract knows."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from push_core.errors import DeadlineExceeded

T = TypeVar("T")


async def within(timeout_s: float, what: str, call: Awaitable[T]) -> T:
    """The call's result. Raises DeadlineExceeded, naming `what`, when there is none within `timeout_s` seconds: the outcome is unknown."""
    try:
        async with asyncio.timeout(timeout_s):
            return await call
    except TimeoutError:
        raise DeadlineExceeded(f"{what}: no answer within {timeout_s:g} s") from None
