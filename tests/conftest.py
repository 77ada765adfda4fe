"""What holds for every test."""

import os

from hypothesis import settings

from tests.support.maria import maria_tables, more_maria_tables
from tests.support.redis_cluster import redis_cluster
from tests.support.redis_stores import redis_at, redis_cluster_at
from tests.support.servers import maria_server, rabbit_server, redis_server

__all__ = [
    "maria_server",
    "maria_tables",
    "more_maria_tables",
    "rabbit_server",
    "redis_at",
    "redis_cluster",
    "redis_cluster_at",
    "redis_server",
]  # fixtures: tests name them, nobody imports them from here

# No deadline: how long an example takes says how busy the machine is. In CI the examples are the same each time, so that red stays red.
settings.register_profile("laptop", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if "CI" in os.environ else "laptop")
