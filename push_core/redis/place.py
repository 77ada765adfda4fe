"""Where a Redis is and how it is spoken to, read from a DSN:

    redis://[[user]:password@]host[:port][/db]            one server
    redis+sentinel://[…@]host[:port],host…/service[/db]   the master that Sentinels name
    redis+cluster://[…@]host[:port],host…[/]              a Cluster, by some of its nodes

rediss… instead of redis… for TLS, checked against the machine's authorities or the file in option `ca`.
"""

import re
from dataclasses import dataclass, field
from typing import ClassVar

from push_core.dsn import Dsn
from push_core.errors import ConfigError

SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
OPTIONS = "prefix, timeout_ms, connections, ca, sentinel_auth"
PORT, SENTINEL_PORT = 6379, 26379
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,32}")


@dataclass(frozen=True, slots=True)
class Place:
    """`where` names the setting in errors. `sentinel_auth`: the Sentinels ask for the same user and password."""

    DEFAULT_TIMEOUT_MS: ClassVar[int] = 5_000
    DEFAULT_CONNECTIONS: ClassVar[int] = 8

    where: str
    hosts: tuple[tuple[str, int], ...]
    kind: str = "single"  # "single" | "sentinel" | "cluster"
    service: str = ""
    db: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | None = None
    prefix: str = "taco"
    timeout_s: float = DEFAULT_TIMEOUT_MS / 1_000
    connections: int = DEFAULT_CONNECTIONS
    sentinel_auth: bool = False

    @classmethod
    def of(cls, dsn: Dsn, *own: str) -> tuple["Place", dict[str, int]]:
        """The place, and the options of the adapter (`own`: whole numbers) that are given. Raises ConfigError."""
        numbers = dsn.numbers("timeout_ms", "connections", *own, texts=("prefix", "ca", "sentinel_auth"))
        base, _, kind = dsn.scheme.partition("+")
        hosts = dsn.hosts(SENTINEL_PORT if kind == "sentinel" else PORT)
        if not kind and len(hosts) > 1:
            raise ConfigError(f"{dsn.where}: several hosts need redis+sentinel:// or redis+cluster://")
        prefix = dsn.options.get("prefix", "taco")
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError(f"{dsn.where}: option prefix must be 1 to 32 letters, digits or . _ : -")
        auth = dsn.options.get("sentinel_auth", "none")
        if auth not in ("none", "same"):
            raise ConfigError(f"{dsn.where}: option sentinel_auth must be none or same")
        user, password = dsn.login()
        service, db = _path(dsn, kind)
        place = cls(
            where=dsn.where,
            hosts=tuple(hosts),
            kind=kind or "single",
            service=service,
            db=db,
            user=user or None,
            password=password or None,
            tls=base == "rediss",
            ca=dsn.options.get("ca"),
            prefix=prefix,
            timeout_s=numbers.pop("timeout_ms", cls.DEFAULT_TIMEOUT_MS) / 1_000,
            connections=numbers.pop("connections", cls.DEFAULT_CONNECTIONS),
            sentinel_auth=auth == "same",
        )
        return place, numbers


def _path(dsn: Dsn, kind: str) -> tuple[str, int]:
    """Service and database."""
    parts = [part for part in dsn.url.path.split("/") if part]
    service = ""
    if kind == "sentinel":
        if not parts:
            raise ConfigError(f"{dsn.where} must name the service: {dsn.scheme}://HOST:PORT,HOST:PORT/SERVICE/DB")
        service = parts.pop(0)
    if kind == "cluster" and parts not in ([], ["0"]):
        raise ConfigError(f"{dsn.where}: a Cluster has database 0 only")
    if len(parts) > 1 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"{dsn.where}: the database must be a number, as in {dsn.scheme}://HOST:PORT/…/0")
    return service, int(parts[0]) if parts else 0
