"""Which settings and stores a command works on when nobody names them, those of the cluster in DATA, else those of `taco up` there; and
working on them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import typer

from ops.commands.output import Exit, fail

CLUSTER = "cluster.toml"

Store = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="DSN",
        envvar="TACO_STORES_DEVICES",
        help="The device store, which holds apps and control.",
        show_default="the one in DATA",
    ),
]


class Closable(Protocol):
    async def close(self) -> None: ...


T = TypeVar("T")
S = TypeVar("S", bound=Closable)


def settings_file(data: Path, config: Path | None) -> Path | None:
    """The file that is named, or that of the cluster in `data`. None: `load_all` looks for taco.toml."""
    if config is None and (data / CLUSTER).is_file():
        return data / CLUSTER
    return config


def devices_dsn(data: Path) -> str:
    """Of the device store, which holds apps and control. Fails with a sentence."""
    if (data / CLUSTER).is_file():
        from push_core.errors import ConfigError
        from push_core.settings import read_file

        try:
            if dsn := read_file(data / CLUSTER).get("stores", {}).get("devices"):
                return str(dsn)
        except ConfigError as error:
            fail(str(error), Exit.USAGE)
    if not data.is_dir():
        fail(f"there is no folder {data}; `taco up` makes it, or name the store with --devices", Exit.USAGE)
    return f"sqlite:///{data / 'devices.sqlite'}"


def on_store(
    opened: Callable[[str], Awaitable[S]], dsn: str | None, data: Path, work: Callable[[S], Awaitable[T]]
) -> T:
    """What `work` gives, done on the store that `opened` opens by the DSN of the device store. Fails with a sentence."""
    from push_core.errors import ConfigError, TacoError

    named = dsn or devices_dsn(data)

    async def run() -> T:
        store = await opened(named)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except TacoError as error:
        fail(error.message)
