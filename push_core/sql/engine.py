"""From a DSN to the engine of its dialect and what `Database` must know about it."""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from push_core.dsn import Dsn
from push_core.errors import ConfigError
from push_core.sql.mysql import engine as mysql
from push_core.sql.mysql.options import Options
from push_core.sql.schemes import SCHEMES
from push_core.sql.sqlite import engine as sqlite


class Place(NamedTuple):
    """Where a store is. `name` is for people (no password in it); `embedded`: this process is the only kind of program that has the tables,
    and brings them to its version itself."""

    name: str
    embedded: bool
    writers: int
    readers: int  # 0: one connection does all
    options: Options | None  # of a server
    make_engine: Callable[[], Engine]
    make_patient_engine: Callable[[float], Engine]  # for statements that may take so many seconds


def place_of(dsn: str, *, readers: int = 2, writers: int = 1) -> Place:
    """`readers` and `writers` are for a DSN that doesn't say. Raises ConfigError for what is not a DSN that this adapter serves."""
    try:
        url = make_url(dsn)
    except ArgumentError:
        raise ConfigError(
            f"{Dsn.hide_password(dsn.split('://', 1)[0])!r} is not a DSN; write sqlite:///path or mysql://user@host/database"
        ) from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        sqlite.check(url)
        memory = sqlite.in_memory(url)
        readers = 0 if memory else readers
        return Place(
            sqlite.shown(url),
            True,
            1,
            readers,
            None,
            lambda: sqlite.make_engine(url),
            lambda _: sqlite.make_engine(url),
        )
    if backend in ("mysql", "mariadb"):
        options = Options.of(url, writers=writers, readers=readers)
        return Place(
            options.shown,
            False,
            options.writers,
            options.readers,
            options,
            lambda: mysql.make_engine(options),
            lambda timeout_s: mysql.make_engine(options, timeout_s=timeout_s),
        )
    raise ConfigError(f"no SQL store for {backend}://; there are {', '.join(f'{name}://' for name in SCHEMES)}")
