"""`taco zones …`: which zone owns which shard, and where receipts services of other zones are reached. Works on control itself; every
program follows within a second or two."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands.control import Expect, on_control, put
from ops.commands.options import DATA, AsJson, Data
from ops.commands.output import Exit, fail
from ops.commands.stores import Store

if TYPE_CHECKING:
    from push_core.control.port import Control, Entry
    from push_core.shards import ShardMap

TAKES_EFFECT_S = 10.0  # several polls of control: every program knows of it before it happens
KEEP_MOVES_MS = 30 * 86_400_000  # longer than any message is kept

group = typer.Typer(
    no_args_is_help=True, help="Show and set which zone owns which shards, and where zones reach one another."
)


@group.command()
def show(devices: Store = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Show the shard map with its version, moves to come, and the addresses that zones are reached at."""
    _print(on_control(devices, data, _shown), as_json)


@group.command("set")
def set_map(
    zones: Annotated[
        list[str], typer.Argument(metavar="ZONE=RANGES…", help="As east=0-127 west=128-200,202-255 north=201.")
    ],
    expect: Expect = None,
    delay_s: Annotated[
        float, typer.Option("--in", metavar="SECONDS", min=0.0, help="When shards change hands, from now.")
    ] = TAKES_EFFECT_S,
    devices: Store = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Say which zone owns which shards, all of 0 to 255. A shard that moves takes no new messages until it changes hands; receipts of
    older ones go on to the zone that has them."""
    from push_core.clock import wall_ms
    from push_core.shards import CONTROL_KEY

    owner = _owners(zones)

    async def work(control: "Control") -> dict[str, Any]:
        (entry,) = await control.get([CONTROL_KEY])
        now = wall_ms()
        changed = _map_of(entry).changed_to(owner, at=now + round(delay_s * 1_000), forget_before=now - KEEP_MOVES_MS)
        await put(control, CONTROL_KEY, changed.to_value(), entry, expect, show="taco zones show")
        return await _shown(control)

    _print(on_control(devices, data, work), as_json)


@group.command()
def reach(
    zone: Annotated[str, typer.Argument(metavar="ZONE")],
    addresses: Annotated[
        list[str] | None,
        typer.Argument(metavar="[HOST:PORT…]", help="Its receipts services; none: forget what was said."),
    ] = None,
    expect: Expect = None,
    devices: Store = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Say where other zones reach a zone's receipts services; those of the own zone are found without."""
    from push_core.rpc.discovery import CONTROL_KEY, receipts_from_value

    async def work(control: "Control") -> dict[str, Any]:
        (entry,) = await control.get([CONTROL_KEY])
        value = dict((entry and entry.value) or {})
        value.pop(zone, None)
        if addresses:
            value[zone] = {"receipts": list(addresses)}
        try:
            receipts_from_value(value)
        except ValueError as error:
            fail(str(error), Exit.USAGE)
        await put(control, CONTROL_KEY, value, entry, expect, show="taco zones show")
        return await _shown(control)

    _print(on_control(devices, data, work), as_json)


def _owners(zones: Sequence[str]) -> Sequence[str]:
    from push_core.shards import ranges_of, read_zones

    ranges: dict[str, list[list[int]]] = {}
    for text in zones:
        zone, _, listed = text.partition("=")
        for part in listed.split(","):
            first, dash, last = part.partition("-")
            if not (zone and first.isdecimal() and (last.isdecimal() if dash else not last)):
                fail(f"{text!r} is not ZONE=FIRST-LAST[,FIRST-LAST…]", Exit.USAGE)
            ranges.setdefault(zone, []).append([int(first), int(last or first)])
    try:
        owner = read_zones(ranges, "zones")
    except ValueError as error:
        fail(str(error), Exit.USAGE)
    if not all(owner):
        nobody = ranges_of("" if zone else "nobody" for zone in owner)["nobody"]
        fail(f"every shard needs a zone; these have none: {_listed(nobody)}", Exit.USAGE)
    return owner


def _listed(ranges: Iterable[Sequence[int]]) -> str:
    """
    >>> _listed([[3, 5], [9, 9]])
    '3-5, 9'
    """
    return ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges)


def _map_of(entry: "Entry | None") -> "ShardMap":
    from push_core.shards import ShardMap

    if entry is None or entry.value is None:
        return ShardMap.single()
    try:
        return ShardMap.from_value(entry.version, entry.value)
    except (ValueError, AttributeError) as error:
        fail(f"control holds a shard map that makes no sense ({error}), which every program refuses")


async def _shown(control: "Control") -> dict[str, Any]:
    from push_core.clock import wall_ms
    from push_core.rpc.discovery import CONTROL_KEY as ADDRESSES
    from push_core.shards import CONTROL_KEY, ranges_of

    entry, addresses = await control.get([CONTROL_KEY, ADDRESSES])
    shard_map, now = _map_of(entry), wall_ms()
    return {
        "version": entry.version if entry is not None else 0,
        "zones": ranges_of(shard_map.owner),
        "moving": [
            {"until": move.until, "zones": ranges_of(move.owner)} for move in shard_map.moves if move.until > now
        ],
        "addresses_version": addresses.version if addresses is not None else 0,
        "receipts": {
            zone: about["receipts"] for zone, about in ((addresses and addresses.value) or {}).items()
        },
    }  # fmt: skip


def _print(shown: dict[str, Any], as_json: bool) -> None:
    from ops.commands.output import print_json, print_pairs, when

    if as_json:
        print_json(shown)
        return

    print_pairs(
        {
            "version": shown["version"],
            **{f"zone {zone}": _listed(ranges) for zone, ranges in shown["zones"].items()},
            **{
                f"until {when(move['until'])}": "; ".join(
                    f"{zone} has {_listed(had)}" for zone, had in move["zones"].items()
                )
                for move in shown["moving"]
            },
            **{f"receipts of {zone}": addresses for zone, addresses in shown["receipts"].items()},
        }
    )
