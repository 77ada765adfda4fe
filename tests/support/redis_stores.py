"""Stores in a real Redis, each test under a prefix of its own: `redis_at`, `redis_cluster_at`."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from ops.cluster.servers import RedisServer
from push_core.dsn import Dsn
from push_core.redis.place import SCHEMES
from tests.support.redis_cluster import RedisCluster, dsns_of
from tests.support.redis_time import PassTime, passing

_numbers = itertools.count()


@dataclass(frozen=True)
class RedisAt:
    """`text` is the DSN without options; `servers` are those behind it, to be spoken to directly."""

    text: str
    prefix: str
    servers: Sequence[str]

    def dsn(self, store: str = "presence", **options: int) -> Dsn:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return Dsn.parse(f"{self.text}?prefix={self.prefix}{more}", f"[stores] {store}", SCHEMES)

    @property
    def pass_time(self) -> PassTime:
        return passing(self.servers, self.prefix)


def place_at(site: RedisServer | RedisCluster) -> RedisAt:
    return RedisAt(site.dsn, f"t{os.getpid()}.{next(_numbers)}", dsns_of(site))


@pytest.fixture
def redis_at(redis_server: RedisServer) -> RedisAt:
    return place_at(redis_server)


@pytest.fixture
def redis_cluster_at(redis_cluster: RedisCluster) -> RedisAt:
    return place_at(redis_cluster)
