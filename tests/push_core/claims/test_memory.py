"""Bounds of the claims in this process."""

import pytest

from push_core.claims.memory import MemoryClaims
from push_core.claims.port import Claim
from push_core.errors import Overloaded
from tests.support.hand_clock import HandClock


async def test_beyond_the_bound_a_take_is_refused_whole_until_claims_run_out() -> None:
    clock = HandClock()
    claims = MemoryClaims(size=3, monotonic=clock.monotonic)
    await claims.take(["a", "b"], "worker", 10)
    with pytest.raises(Overloaded):
        await claims.take(["c", "d"], "worker", 10)
    assert await claims.take(["a", "b", "c", "c"], "worker", 10) == [Claim.GRANTED] * 4
    clock.advance(11)
    assert await claims.take(["x", "y", "z"], "worker", 10) == [Claim.GRANTED] * 3
    assert len(claims) == 3


async def test_a_confirmation_is_taken_even_at_the_bound() -> None:
    claims = MemoryClaims(size=1)
    await claims.take(["a"], "worker", 10)
    await claims.done(["late"], "worker", 10)
    assert len(claims) == 2


async def test_what_ran_out_leaves_nothing_behind() -> None:
    clock = HandClock()
    claims = MemoryClaims(monotonic=clock.monotonic)
    for second in range(100):
        await claims.take([f"key {second}.{n}" for n in range(10)], "worker", 5)
        clock.advance(1)
    assert len(claims) <= 70
    clock.advance(1_000_000)
    await claims.take([], "worker", 5)
    assert len(claims) == 0
    assert not claims._ending


async def test_a_claim_that_was_renewed_outlives_its_first_end() -> None:
    clock = HandClock()
    claims = MemoryClaims(monotonic=clock.monotonic)
    for _ in range(10):
        await claims.take(["a"], "worker", 2)
        clock.advance(1)
    assert await claims.take(["a"], "other", 2) == [Claim.HELD]
