"""What a Redis says of itself (`push_core.facts`); of a Cluster one of its nodes, of Sentinels their master."""

import time

from push_core.dsn import Dsn
from push_core.errors import Unavailable
from push_core.facts import Facts, ahead_ms
from push_core.redis.client import RedisClient
from push_core.redis.place import SCHEMES, Place

_CONFIG = (b"maxmemory", b"maxmemory-policy")


async def redis_facts(dsn: str, setting: str) -> Facts:
    """`setting` names the DSN in errors. Raises ConfigError for a bad DSN, Unavailable when the server can't be asked."""
    parsed = Dsn.parse(dsn, f"[stores] {setting}", SCHEMES)
    # What an adapter of this port alone understands is its affair.
    place, _ = Place.of(parsed, *(() if setting != "presence" else ("buckets",)))
    client = RedisClient(place, ())
    try:
        (told,) = await client.call((0, (b"INFO", b"server")))
        began = time.time()
        ((seconds, micros),) = await client.call((0, (b"TIME",)))
        ahead = ahead_ms(int(seconds) + int(micros) / 1e6, began, time.time())
        info = dict(line.split(b":", 1) for line in told.splitlines() if b":" in line)
        version = info.get(b"redis_version", b"?").decode()
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in place.hosts)
        return Facts(hosts, f"Redis {version}", ahead, await _settings(client))
    finally:
        await client.close()


async def _settings(client: RedisClient) -> dict[str, int | str]:
    """Nothing where the user may not ask for them."""
    found: dict[str, int | str] = {}
    try:
        for name in _CONFIG:
            ((_, value),) = await client.call((0, (b"CONFIG", b"GET", name)))
            text = value.decode()
            found[name.decode()] = int(text) if text.isdigit() else text
    except (Unavailable, ValueError):
        pass
    return found
