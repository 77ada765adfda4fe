"""Claims in Redis. Keys, every one with its time to live, so what ran out is gone by itself:

PREFIX:c:{TAG}:CLAIM    string    "h" + holder while held, "d" + holder once done
"""

from collections.abc import Sequence
from typing import Any

from push_core.claims.port import Claim
from push_core.dsn import Dsn
from push_core.fuse import MakeFuse
from push_core.metrics.port import Metrics
from push_core.redis.client import Command, RedisClient, Script
from push_core.redis.tags import TAGS, tag_of

TAKE = Script("""
-- KEYS: claims. ARGV: holder, ms to live. Answers for each: 0 granted, 1 held by another, 2 done.
local call, sub = redis.call, string.sub
local mine, answers = 'h' .. ARGV[1], {}
for i = 1, #KEYS do
  local entry = call('GET', KEYS[i])
  if entry and sub(entry, 1, 1) == 'd' then
    answers[i] = 2
  elseif entry and entry ~= mine then
    answers[i] = 1
  else
    call('SET', KEYS[i], mine, 'PX', ARGV[2])
    answers[i] = 0
  end
end
return answers
""")

DONE = Script("""
-- KEYS: claims. ARGV: holder, ms to remember.
for i = 1, #KEYS do redis.call('SET', KEYS[i], 'd' .. ARGV[1], 'PX', ARGV[2]) end
return #KEYS
""")

GIVE_BACK = Script("""
-- KEYS: claims. ARGV: holder.
for i = 1, #KEYS do
  if redis.call('GET', KEYS[i]) == 'h' .. ARGV[1] then redis.call('DEL', KEYS[i]) end
end
return #KEYS
""")

_ANSWERS = (Claim.GRANTED, Claim.HELD, Claim.DONE)


class RedisClaims:
    def __init__(self, client: RedisClient) -> None:
        self._client = client

    @classmethod
    def open(cls, dsn: Dsn, *, metrics: Metrics | None = None, fuse: MakeFuse | None = None) -> "RedisClaims":
        """Options: those of `push_core.redis.place`. Raises ConfigError."""
        return cls(RedisClient.open(dsn, (TAKE, DONE, GIVE_BACK), metrics, fuse=fuse)[0])

    async def take(self, keys: Sequence[str], holder: str, ttl_s: float) -> list[Claim]:
        claims = [Claim.GRANTED] * len(keys)
        for positions, answers in await self._run(TAKE, keys, holder, _ms(ttl_s)):
            for position, answer in zip(positions, answers, strict=True):
                claims[position] = _ANSWERS[answer]
        return claims

    async def done(self, keys: Sequence[str], holder: str, keep_s: float) -> None:
        await self._run(DONE, keys, holder, _ms(keep_s))

    async def give_back(self, keys: Sequence[str], holder: str) -> None:
        await self._run(GIVE_BACK, keys, holder)

    async def close(self) -> None:
        await self._client.close()

    async def _run(self, script: Script, keys: Sequence[str], *args: str | int) -> list[tuple[list[int], Any]]:
        """The answers, each with the positions of the keys that it is of."""
        if not keys:
            return []
        named = [key.encode() for key in keys]
        tags = [tag_of(name) for name in named]
        shares: dict[int, list[int]] = {}
        for position, tag in enumerate(tags):
            shares.setdefault(tag if self._client.sharded else 0, []).append(position)
        prefix = self._client.prefix
        commands: list[Command] = [
            (
                share,
                script.on(
                    [b"%b:c:{%b}:%b" % (prefix, TAGS[tags[position]], named[position]) for position in positions], args
                ),
            )
            for share, positions in shares.items()
        ]
        return list(zip(shares.values(), await self._client.call(*commands), strict=True))


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1_000))
