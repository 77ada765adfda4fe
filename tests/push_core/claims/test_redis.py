"""Claims in a real Redis, beyond the contract."""

from push_core.claims.port import Claim
from push_core.claims.redis import RedisClaims
from tests.support.redis_stores import RedisAt
from tests.support.redis_time import direct


async def test_every_claim_goes_by_itself(redis_at: RedisAt) -> None:
    claims = RedisClaims.open(redis_at.dsn("claims"))
    keys = [f"7302:courier:d-{number}:fcm" for number in range(100)]
    await claims.take(keys, "worker-1", 30)
    await claims.done(keys[:50], "worker-1", 600)
    with direct(redis_at.text) as server:
        left = [server.pttl(key) for key in server.scan_iter(f"{redis_at.prefix}:c:*")]
    assert len(left) == 100
    assert all(0 < ms <= 600_000 for ms in left)
    await redis_at.pass_time(601)
    with direct(redis_at.text) as server:
        assert list(server.scan_iter(f"{redis_at.prefix}:c:*")) == []
    await claims.close()


async def test_two_processes_share_claims(redis_at: RedisAt) -> None:
    first, second = RedisClaims.open(redis_at.dsn("claims")), RedisClaims.open(redis_at.dsn("claims"))
    assert await first.take(["a", "b"], "one", 30) == [Claim.GRANTED] * 2
    assert await second.take(["b", "c"], "two", 30) == [Claim.HELD, Claim.GRANTED]
    await first.done(["b"], "one", 30)
    assert await second.take(["a", "b", "c"], "two", 30) == [Claim.HELD, Claim.DONE, Claim.GRANTED]
    await first.close()
    await second.close()


async def test_a_holder_is_not_taken_for_another_whose_name_begins_alike(redis_at: RedisAt) -> None:
    claims = RedisClaims.open(redis_at.dsn("claims"))
    await claims.take(["a"], "worker-1", 30)
    await claims.give_back(["a"], "worker-")
    assert await claims.take(["a"], "worker-11", 30) == [Claim.HELD]
    await claims.close()
