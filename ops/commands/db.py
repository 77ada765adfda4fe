"""`taco db …`: the tables of the stores. A server's are brought to a release's version by hand, before its programs are started; embedded
stores do it by themselves."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands.options import DATA, AsJson, Data, StoresConfig
from ops.commands.output import Exit, fail, print_json, print_table
from ops.commands.stores import settings_file

if TYPE_CHECKING:
    from push_core.sql.upgrade import Status

group = typer.Typer(
    no_args_is_help=True, help="Bring the tables of MySQL or MariaDB to this version, and see where they are."
)

Messages = Annotated[
    list[str] | None,
    typer.Option("--messages", metavar="DSN", help="The message store.", show_default="[stores] messages"),
]
Devices = Annotated[
    str | None, typer.Option("--devices", metavar="DSN", help="The device store.", show_default="[stores] devices")
]


@group.command()
def upgrade(
    messages: Messages = None,
    devices: Devices = None,
    config: StoresConfig = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Bring the tables to this version. Programs of the release before go on beside it; two upgrades at a time take turns.

    Only the stores named by options; with none, those of the settings."""
    from ops import logs
    from push_core.sql.upgrade import upgrade_store

    logs.configure(as_json=not sys.stderr.isatty())
    _print(_each(upgrade_store, _stores(messages, devices, config, data)), as_json)


@group.command()
def status(
    messages: Messages = None,
    devices: Devices = None,
    config: StoresConfig = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Show at which step the tables are and with which releases they work. Exit status 1 if not with this one."""
    from push_core.sql.upgrade import status as status_of

    found = _each(status_of, _stores(messages, devices, config, data))
    _print(found, as_json)
    if any(one.problem for one in found):
        raise typer.Exit(Exit.FAILED)


def _stores(messages: list[str] | None, devices: str | None, config: Path | None, data: Path) -> list[tuple[str, str]]:
    """DSN and schema of each store that is meant."""
    from ops.settings import Overrides, load_all
    from push_core.errors import ConfigError
    from push_core.messages.ranges import split

    try:
        if messages is None and devices is None:
            stores = load_all(data, settings_file(data, config), os.environ, Overrides()).stores
            messages, devices = [stores.messages], stores.devices
        found = [(one.dsn, "messages") for text in messages or [] for one in split(text)]
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    return found if devices is None else [*found, (devices, "devices")]


def _each(work: "Callable[[str, str], Status]", stores: list[tuple[str, str]]) -> "list[Status]":
    from push_core.errors import ConfigError, TacoError

    found = []
    for dsn, schema in stores:
        try:
            found.append(work(dsn, schema))
        except ConfigError as error:
            fail(str(error), Exit.USAGE)
        except TacoError as error:
            fail(error.message)
    return found


def _print(found: "list[Status]", as_json: bool) -> None:
    if as_json:
        print_json({"stores": [one._asdict() for one in found]})
        return
    rows: list[list[Any]] = [
        [one.store, one.schema, one.at or "-", one.works_with or "-", one.problem or "fits"] for one in found
    ]
    print_table(("store", "tables", "step", "works with", "this release"), rows)
