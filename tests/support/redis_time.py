"""Time that goes by in a Redis without waiting for it: what is left of every key's time to live becomes less."""

from collections.abc import Awaitable, Callable, Sequence

import redis

PassTime = Callable[[float], Awaitable[None]]


def direct(dsn: str) -> redis.Redis:
    """A blocking client for what tests do behind the back of the code."""
    return redis.Redis.from_url(dsn.partition("?")[0], protocol=2)


def passing(dsns: Sequence[str], prefix: str) -> PassTime:
    """Of the keys with this prefix. Moments by Redis's clock that a value holds (token buckets) come nearer as well."""

    async def pass_time(seconds: float) -> None:
        for dsn in dsns:
            with direct(dsn) as server:
                for key in list(server.scan_iter(f"{prefix}:*")):
                    _age(server, key, seconds, moment=key.startswith(f"{prefix}:l:".encode()))

    return pass_time


def _age(server: redis.Redis, key: bytes, seconds: float, *, moment: bool) -> None:
    left_ms = server.pttl(key)
    if left_ms < 0:
        return
    if left_ms <= seconds * 1_000:
        server.delete(key)
        return
    if moment:
        value = server.get(key)
        assert value is not None
        server.set(key, f"{float(value) - seconds * 1e6:.3f}", keepttl=True)
    server.pexpire(key, left_ms - round(seconds * 1_000))
