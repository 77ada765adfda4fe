"""Options that several commands share, and where a command finds the server it talks to.

The address and the key come from, first found: the option, the environment (TACO_API, TACO_KEY), DATA/demo.json as `taco up` left it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.output import Exit, fail

if TYPE_CHECKING:
    from ops.demo_file import DemoFile

Api = Annotated[
    str | None,
    typer.Option(
        "--api", envvar="TACO_API", metavar="URL", help="Address of the push API.", show_default="from DATA/demo.json"
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="TACO_KEY",
        metavar="KEY",
        help="The app's key, APP.SECRET.",
        show_default="from DATA/demo.json",
    ),
]
Data = Annotated[
    Path, typer.Option("--data", envvar="TACO_DATA", metavar="DIR", help="Folder of `taco up` or `taco cluster`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

DATA = Path("data")


@dataclass(frozen=True, slots=True)
class Server:
    """Where a command sends its requests, and as whom."""

    api: str
    key: str

    def __repr__(self) -> str:
        return f"Server({self.api!r})"


def server(api: str | None, key: str | None, data: Path) -> Server:
    """Fails with a sentence that says what to give when something is missing."""
    if api and key:
        return Server(api.rstrip("/"), key)
    demo = demo_of(data)
    if demo is None:
        missing = " and ".join(name for name, value in (("--api", api), ("--key", key)) if not value)
        fail(f"no {data / 'demo.json'} here: start `taco up`, or give {missing} (or TACO_API and TACO_KEY)", Exit.USAGE)
    return Server((api or demo.api).rstrip("/"), key or demo.key)


def demo_of(data: Path) -> "DemoFile | None":
    from ops import demo_file
    from push_core.errors import ConfigError

    try:
        return demo_file.read(data)
    except ConfigError as error:
        fail(str(error), Exit.USAGE)


StoresConfig = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings, TOML.",
        show_default="DATA/cluster.toml or taco.toml, if there is one",
    ),
]
