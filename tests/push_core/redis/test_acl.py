"""The rights that docs/redis.md asks for are enough."""

import re
from pathlib import Path

from push_core.claims.redis import RedisClaims
from push_core.limits.port import Ask
from push_core.limits.redis import RedisLimits
from push_core.presence.port import Node, Route
from push_core.presence.redis import RedisPresence
from tests.support.redis_stores import RedisAt
from tests.support.redis_time import direct

PAGE = Path(__file__).parents[3] / "docs" / "redis.md"
GATEWAY = Node(incarnation="gw-1.a", name="gw-1", address="127.0.0.1:7001", zone="default")
ROUTE = Route(app="courier", device="d-1", incarnation=GATEWAY.incarnation, epoch=1)


async def test_a_user_with_the_rights_of_the_page_can_do_all_that_taco_does(redis_at: RedisAt) -> None:
    found = re.search(r"ACL SETUSER taco (.*)", PAGE.read_text())
    assert found is not None
    rules = found[1].replace("SECRET", "right").replace("~taco:*", f"~{redis_at.prefix}:*").split()
    user = f"u{redis_at.prefix}".replace(".", "-")
    with direct(redis_at.text) as server:
        server.execute_command("ACL", "SETUSER", user, *rules)
        for command in (("ROLE",), ("INFO", "server"), ("CLUSTER", "SLOTS")):
            assert server.execute_command("ACL", "DRYRUN", user, *command) == b"OK"
        assert server.execute_command("ACL", "DRYRUN", user, "FLUSHALL") != b"OK"
    host = redis_at.text.rpartition("@")[2]
    at = RedisAt(f"redis://{user}:right@{host}", redis_at.prefix, redis_at.servers)
    presence, claims, limits = (
        RedisPresence.open(at.dsn()),
        RedisClaims.open(at.dsn("claims")),
        RedisLimits.open(at.dsn("limits")),
    )
    assert await presence.lease_node(GATEWAY, 15.0)
    await presence.ping()
    await presence.sign_in([ROUTE])
    assert await presence.locate([("courier", "d-1")])
    assert await presence.register_again([ROUTE]) == [True]
    assert await presence.sign_out([ROUTE]) == [True]
    await presence.sign_in([ROUTE])
    await presence.release_node(GATEWAY.incarnation)
    assert await presence.sweep() == 1
    await claims.take(["a"], "worker", 30)
    await claims.done(["a"], "worker", 30)
    await claims.give_back(["a"], "worker")
    assert await limits.take([Ask("courier", 1, 1, 10)]) == [0.0]
    await limits.ping()
    for store in (presence, claims, limits):
        await store.close()
