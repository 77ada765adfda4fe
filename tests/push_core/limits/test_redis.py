"""Limits in a real Redis, beyond the contract."""

import asyncio

from push_core.limits.port import Ask
from push_core.limits.redis import RedisLimits
from tests.support.redis_stores import RedisAt
from tests.support.redis_time import direct


async def test_processes_share_a_bucket_and_all_of_it_is_given_once(redis_at: RedisAt) -> None:
    processes = [RedisLimits.open(redis_at.dsn("limits")) for _ in range(4)]
    asks = [Ask("courier", 1, 0.01, 100)] * 50
    answers = await asyncio.gather(*(process.take(asks) for process in processes))
    assert sum(wait == 0 for waits in answers for wait in waits) == 100
    for process in processes:
        await process.close()


async def test_a_full_bucket_takes_no_memory(redis_at: RedisAt) -> None:
    limits = RedisLimits.open(redis_at.dsn("limits"))
    await limits.take([Ask(f"10.0.0.{number}", 1, 10, 20) for number in range(100)])
    await limits.take([Ask(f"10.0.1.{number}", 0, 10, 20) for number in range(100)])
    with direct(redis_at.text) as server:
        assert 0 < len(list(server.scan_iter(f"{redis_at.prefix}:l:*"))) <= 100
    await redis_at.pass_time(0.2)
    with direct(redis_at.text) as server:
        assert list(server.scan_iter(f"{redis_at.prefix}:l:*")) == []
    await limits.close()


async def test_a_high_rate_flows_in_by_parts_of_a_millisecond(redis_at: RedisAt) -> None:
    limits = RedisLimits.open(redis_at.dsn("limits"))
    assert await limits.take([Ask("fast", 20_000, 20_000, 20_000)]) == [0.0]
    granted, loop = 0, asyncio.get_running_loop()
    began = loop.time()
    while loop.time() < began + 0.2:
        granted += sum(wait == 0 for wait in await limits.take([Ask("fast", 7, 20_000, 20_000)] * 20)) * 7
        await asyncio.sleep(0)
    assert 20_000 * 0.1 <= granted <= 20_000 * (loop.time() - began + 0.1)
    await limits.close()
