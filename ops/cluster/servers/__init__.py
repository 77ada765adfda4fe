"""Private instances of the servers that Taco runs on, for `taco cluster`, tests and drills: each in a folder of its own, on loopback only.

The calls block (start a server from a thread, `asyncio.to_thread`, if a loop must go on). They need no driver: whether a server answers is
seen from the first bytes of its protocol.
"""

from ops.cluster.servers.base import Server, ServerFailed
from ops.cluster.servers.maria import MariaServer
from ops.cluster.servers.rabbit import RabbitServer
from ops.cluster.servers.redis import RedisServer

KINDS: tuple[type[Server], ...] = (RedisServer, MariaServer, RabbitServer)


def missing() -> dict[str, str]:
    """What is not installed: the program that was looked for, and the Debian package that has it. Empty when all is there."""
    return {kind.program: kind.package for kind in KINDS if not kind.available()}


__all__ = ["KINDS", "MariaServer", "RabbitServer", "RedisServer", "Server", "ServerFailed", "missing"]
