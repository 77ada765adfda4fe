"""What a DSN of a server says: `mysql://USER:PASSWORD@HOST:PORT/DATABASE?writers=2&readers=2`."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sqlalchemy.engine import URL

from push_core.errors import ConfigError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NUMBERS: Mapping[str, tuple[int, int]] = {
    "writers": (1, 64),
    "readers": (1, 64),
    "connect_timeout_s": (1, 60),
    "timeout_s": (1, 60),
    "lock_wait_s": (1, 60),
    "partition_days": (0, 366),
}
_TEXTS: Mapping[str, tuple[str, ...] | None] = {
    "socket": None,
    "tls": ("off", "prefer", "require", "verify"),
    "ca": None,
    "durability": ("strict", "relaxed"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """Timeouts lie below the deadline of a call (5 s), so that a server that is stopped is answered for with certainty."""

    url: URL
    writers: int
    readers: int
    connect_timeout_s: int = 3
    timeout_s: int = 4  # for one statement
    lock_wait_s: int = 3  # for a row or a table that another transaction holds
    partition_days: int = 8  # how far ahead partitions are made; 0: this program leaves them alone
    socket: str | None = None
    tls: str = "prefer"
    ca: str | None = None  # a file of certificates; tls=verify without it takes the system's
    durability: str = "strict"  # relaxed: open a server that loses its last second when it dies

    @classmethod
    def of(cls, url: URL, *, writers: int, readers: int) -> Self:
        """Raises ConfigError for an option that does not exist, or a value out of range."""
        if url.get_driver_name() not in ("", "mysqldb", "pymysql"):
            raise ConfigError(f"the driver is pymysql: write mysql:// and not {url.drivername}://")
        if not url.database:
            raise ConfigError("a MySQL DSN names its database: mysql://user@host/database")
        if not url.host and "socket" not in url.query:
            raise ConfigError("a MySQL DSN names its host: mysql://user@host/database")
        given: dict[str, int | str] = {"writers": writers, "readers": readers}
        if url.host in _LOOPBACK or "socket" in url.query:
            given["tls"] = "off"  # nobody listens there, and it would cost at each statement
        for name, value in url.query.items():
            if not isinstance(value, str):
                raise ConfigError(f"option {name} of mysql:// is given twice")
            given[name] = _value(name, value)
        return cls(url=url, **given)  # type: ignore[arg-type]

    @property
    def shown(self) -> str:
        """The store's name in errors and logs: no password, no options."""
        return f"the store {self.url.set(query={}).render_as_string(hide_password=True)}"


def _value(name: str, value: str) -> int | str:
    if name in _NUMBERS:
        least, most = _NUMBERS[name]
        if not (value.isascii() and value.isdigit() and least <= int(value) <= most):
            raise ConfigError(f"option {name} of mysql:// is a whole number from {least} to {most}, got {value!r}")
        return int(value)
    if name in _TEXTS:
        choices = _TEXTS[name]
        if choices is not None and value not in choices:
            raise ConfigError(f"option {name} of mysql:// is one of {', '.join(choices)}, got {value!r}")
        return value
    near = difflib.get_close_matches(name, (*_NUMBERS, *_TEXTS), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{name} is not an option of mysql://{hint}")
