"""What commands share that show and change runtime values: they work on control itself, and every program follows within a second or two."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ops.commands.output import fail
from ops.commands.stores import on_store

if TYPE_CHECKING:
    from push_core.control.port import Control, Entry

T = TypeVar("T")

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
    """What `work` gives, done on control. Fails with a sentence."""
    from push_core.adapters import open_control

    return on_store(open_control, dsn, data, work)
