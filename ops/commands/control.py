"""What commands share that show and change runtime values: they work on control itself, and every program follows within a second or two."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ops.commands.output import Exit, fail
from ops.commands.stores import devices_dsn

if TYPE_CHECKING:
    from push_core.control.port import Control, Entry

T = TypeVar("T")

Store = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="DSN",
        envvar="TACO_STORES_DEVICES",
        help="The device store, which holds control.",
        show_default="the one in DATA",
    ),
]
Expect = Annotated[
    int | None,
    typer.Option("--expect", metavar="VERSION", help="Change nothing unless this is the version that holds now."),
]


async def put(
    control: "Control", key: str, value: Any, entry: "Entry | None", expect: int | None, *, show: str
) -> "Entry":
    """Write what was made of `entry`, if that still holds; else fail with a sentence. `show` is the command that shows the key."""
    version = entry.version if entry is not None else 0
    if expect not in (None, version):
        fail(f"control has version {version} of {key}, not {expect}; nothing was changed. Look with `{show}`")
    written = await control.put(key, value, expect=version)
    if written is None:
        fail(f"{key} was changed by somebody else just now; look with `{show}`, then try again")
    return written


def on_control(dsn: str | None, data: Path, work: "Callable[[Control], Awaitable[T]]") -> T:
    """Open control, do the work, close it. Fails with a sentence."""
    from push_core.adapters import open_control
    from push_core.errors import ConfigError, TacoError

    dsn = dsn or devices_dsn(data)

    async def run(dsn: str) -> T:
        control = await open_control(dsn)
        try:
            return await work(control)
        finally:
            await control.close()

    try:
        return asyncio.run(run(dsn))
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except TacoError as error:
        fail(error.message)
