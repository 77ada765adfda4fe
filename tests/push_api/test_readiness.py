import asyncio

import pytest

from push_api.readiness import Readiness
from push_core.errors import Unavailable
from tests.push_api.fakes import away
from tests.support.hand_clock import HandClock


class Neighbour:
    def __init__(self) -> None:
        self.pings = 0
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def ping(self) -> None:
        self.pings += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error


class Lease:
    held = True


class Setup:
    def __init__(self, timeout_s: float = 5.0) -> None:
        self.clock = HandClock()
        self.store = Neighbour()
        self.lease = Lease()
        self.shards = [1]
        self.readiness = Readiness(
            self.lease,  # type: ignore[arg-type]
            {"the store": self.store.ping},
            self.clock.clock(),
            shards=lambda: self.shards,
            keep_s=1.0,
            timeout_s=timeout_s,
        )
        self.readiness.serving = True


async def test_ready_when_the_stores_answer_and_the_lease_is_held() -> None:
    await Setup().readiness.check()


async def test_not_ready_says_all_that_is_missing() -> None:
    setup = Setup()
    setup.store.error = away()
    setup.lease.held = False
    setup.shards = []
    missing = r"the store does not answer .*; no issuer number is held; this zone owns no shard"
    with pytest.raises(Unavailable, match=missing):
        await setup.readiness.check()


async def test_before_start_and_while_stopping_it_is_not_ready() -> None:
    setup = Setup()
    await setup.readiness.close()
    with pytest.raises(Unavailable, match="starting or stopping"):
        await setup.readiness.check()
    assert setup.store.pings == 0


async def test_many_who_ask_cost_one_ping_a_second() -> None:
    setup = Setup()
    await asyncio.gather(*(setup.readiness.check() for _ in range(50)))
    await setup.readiness.check()
    assert setup.store.pings == 1
    setup.clock.advance(1.0)
    await setup.readiness.check()
    assert setup.store.pings == 2


async def test_an_asker_that_goes_away_does_not_end_the_asking() -> None:
    setup = Setup()
    setup.store.gate = asyncio.Event()
    leaving, staying = (asyncio.create_task(setup.readiness.check()) for _ in range(2))
    while not setup.store.pings:
        await asyncio.sleep(0)
    leaving.cancel()
    setup.store.gate.set()
    await staying
    assert setup.store.pings == 1


async def test_a_store_that_hangs_is_not_ready() -> None:
    setup = Setup(timeout_s=0.01)
    setup.store.gate = asyncio.Event()
    with pytest.raises(Unavailable, match=r"no answer within 0.01 s"):
        await setup.readiness.check()
