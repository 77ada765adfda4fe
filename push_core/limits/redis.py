"""Limits in Redis, by its clock, so that processes need not agree on the time. Keys, gone when their bucket is full:

PREFIX:l:{TAG}:KEY    string    the moment at which the bucket is full again, in µs since 1970 by Redis's clock
"""

from collections.abc import Sequence

from push_core.dsn import Dsn
from push_core.fuse import MakeFuse
from push_core.limits.port import Ask
from push_core.metrics.port import Metrics
from push_core.redis.client import Command, RedisClient, Script
from push_core.redis.tags import TAGS, tag_of

TAKE = Script("""
-- KEYS: bucket of each ask. ARGV for each: µs that its tokens take to flow in; µs that it may be short of full, no fewer than 0.
-- Answers for each: 0 granted, or µs to wait.
local call, max, ceil = redis.call, math.max, math.ceil
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local answers = {}
for i = 1, #KEYS do
  local full_at = max(tonumber(call('GET', KEYS[i]) or 0), now)
  local flow, slack = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local wait = full_at - now - slack
  if wait > 0 then
    answers[i] = ceil(wait)
  else
    answers[i] = 0
    if flow > 0 then
      full_at = full_at + flow
      call('SET', KEYS[i], string.format('%.3f', full_at), 'PX', ceil((full_at - now) / 1000))
    end
  end
end
return answers
""")


class RedisLimits:
    def __init__(self, client: RedisClient) -> None:
        self._client = client

    @classmethod
    def open(cls, dsn: Dsn, *, metrics: Metrics | None = None, fuse: MakeFuse | None = None) -> "RedisLimits":
        """Options: those of `push_core.redis.place`. Raises ConfigError."""
        return cls(RedisClient.open(dsn, (TAKE,), metrics, fuse=fuse)[0])

    async def take(self, asks: Sequence[Ask]) -> list[float]:
        if not asks:
            return []
        prefix, sharded = self._client.prefix, self._client.sharded
        shares: dict[int, tuple[list[int], list[bytes], list[str]]] = {}
        for position, ask in enumerate(asks):
            name = ask.key.encode()
            tag = tag_of(name)
            positions, keys, args = shares.setdefault(tag if sharded else 0, ([], [], []))
            positions.append(position)
            keys.append(b"%b:l:{%b}:%b" % (prefix, TAGS[tag], name))
            args.append(f"{ask.n / ask.rate_per_s * 1e6:.3f}")
            args.append(f"{(ask.burst - min(ask.n, ask.burst)) / ask.rate_per_s * 1e6:.3f}")
        commands: list[Command] = [(share, TAKE.on(keys, args)) for share, (_, keys, args) in shares.items()]
        waits = [0.0] * len(asks)
        for (positions, _, _), answers in zip(shares.values(), await self._client.call(*commands), strict=True):
            for position, wait in zip(positions, answers, strict=True):
                waits[position] = wait / 1e6
        return waits

    async def ping(self) -> None:
        await self._client.call((0, (b"PING",)), critical=True)

    async def close(self) -> None:
        await self._client.close()
