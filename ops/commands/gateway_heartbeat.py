"""`taco gateway heartbeat …`: the bounds of heartbeats, of all gateways, while they run. Works on control itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands.control import Expect, on_control, put
from ops.commands.options import DATA, AsJson, Data, StoresConfig
from ops.commands.output import Exit, fail
from ops.commands.stores import Store

if TYPE_CHECKING:
    from push_core.control.port import Control, Entry
    from sdk_proto.wire.heartbeat import HeartbeatPolicy

SHOW = "taco gateway heartbeat show"

group = typer.Typer(
    no_args_is_help=True,
    help="Show and set how often devices may and must ping. Gateways follow within a second or two: with new sessions at once, with those "
    "that live at their next ping. What is not set here is as in the settings file of each gateway.",
)


@group.command()
def show(devices: Store = None, config: StoresConfig = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Show what is in force, and which of it is set here."""
    usual = _usual(data, config)

    async def work(control: "Control") -> dict[str, Any]:
        return _shown((await control.get([_key()]))[0], usual)

    _print(on_control(devices, data, work), as_json)


@group.command("set")
def set_bounds(
    shortest: Annotated[
        int | None, typer.Option("--min", metavar="SECONDS", help="Shortest interval between pings.")
    ] = None,
    longest: Annotated[
        int | None, typer.Option("--max", metavar="SECONDS", help="Longest interval between pings.")
    ] = None,
    default: Annotated[
        int | None, typer.Option("--default", metavar="SECONDS", help="Of a device without a wish.")
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace", metavar="FACTOR", help="A session is closed (4001) after so many intervals of silence."
        ),
    ] = None,
    burst: Annotated[
        int | None, typer.Option("--burst", help="Pings at once; one comes back per half of the shortest interval.")
    ] = None,
    expect: Expect = None,
    devices: Store = None,
    config: StoresConfig = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Set some of the bounds; what is left out stays as it is."""
    named = {"min": shortest, "max": longest, "default": default, "grace": grace, "burst": burst}
    change = {name: number for name, number in named.items() if number is not None}
    if not change:
        fail(
            f"name what to set: {', '.join(f'--{name}' for name in named)}; `{SHOW}` shows what is in force", Exit.USAGE
        )
    usual = _usual(data, config)

    async def work(control: "Control") -> dict[str, Any]:
        from push_gateway.heartbeats import policy_from_value

        (entry,) = await control.get([_key()])
        before = entry.value if entry is not None and isinstance(entry.value, dict) else {}
        value = {**before, **change}
        try:
            policy_from_value(value, usual)
        except ValueError as error:
            fail(str(error), Exit.USAGE)
        return _shown(await put(control, _key(), value, entry, expect, show=SHOW), usual)

    _print(on_control(devices, data, work), as_json)


@group.command()
def reset(
    expect: Expect = None,
    devices: Store = None,
    config: StoresConfig = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Forget what was set: each gateway goes by its settings file again."""
    usual = _usual(data, config)

    async def work(control: "Control") -> dict[str, Any]:
        (entry,) = await control.get([_key()])
        return _shown(await put(control, _key(), None, entry, expect, show=SHOW), usual)

    _print(on_control(devices, data, work), as_json)


def _key() -> str:
    from push_gateway.heartbeats import CONTROL_KEY

    return CONTROL_KEY


def _usual(data: Path, config: Path | None) -> "HeartbeatPolicy":
    """What the settings say that are found here; a gateway elsewhere may have others."""
    import os

    from ops.commands.stores import settings_file
    from ops.settings import Overrides, load_all
    from push_core.errors import ConfigError
    from push_gateway.app import terms_of

    try:
        return terms_of(load_all(data, settings_file(data, config), os.environ, Overrides()).gateway).heartbeat
    except ConfigError as error:
        fail(str(error), Exit.USAGE)


def _shown(entry: "Entry | None", usual: "HeartbeatPolicy") -> dict[str, Any]:
    from push_gateway.heartbeats import policy_from_value, value_of

    value = entry.value if entry is not None and entry.value is not None else {}
    try:
        policy = policy_from_value(value, usual)
    except ValueError as error:
        fail(
            f"control holds bounds that make no sense ({error}), which every gateway refuses; set others or reset them"
        )
    return {"version": entry.version if entry is not None else 0, **value_of(policy), "set": sorted(value)}


def _print(shown: dict[str, Any], as_json: bool) -> None:
    from ops.commands.output import print_json, print_pairs

    if as_json:
        print_json(shown)
        return
    named = shown.pop("set")
    units = {"min": " s", "max": " s", "default": " s", "grace": " intervals", "burst": " pings"}
    print_pairs(
        {
            "version": shown.pop("version"),
            **{
                name: f"{number:g}{units[name]}{'' if name in named else ' (settings)'}"
                for name, number in shown.items()
            },
        }
    )
