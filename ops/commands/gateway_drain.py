"""`taco gateway drain`, `undrain`, `drained`: moving all devices off gateways, and letting them come again.

A gateway is asked at its admin port, found as `taco debug` finds it; `--hold` writes the switch in control instead, which needs no admin
port, reaches every node of that name, and holds over restarts.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands.control import on_control, put
from ops.commands.options import AsJson
from ops.commands.output import Exit, fail, print_json, print_table
from ops.commands.processes import (
    FOLDER,
    Config,
    Data,
    NoAnswer,
    Process,
    ask,
    chosen,
    cluster_key,
    of_cluster,
)
from ops.commands.stores import Store

if TYPE_CHECKING:
    from push_core.control.port import Control

PATH, UNDO = "/debug/drain", "/debug/undrain"
LOOK_S, SAY_S = 0.25, 2.0

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME…]", help="Gateways in DATA/cluster.json; with --hold: any nodes.", show_default=False
    ),
]
Admins = Annotated[
    list[str] | None,
    typer.Option("--admin", metavar="HOST:PORT", help="Admin port of a gateway; may be repeated.", show_default=False),
]
Hold = Annotated[
    bool,
    typer.Option(
        "--hold", help="Write the switch in control: it holds over restarts, also for nodes that do not run now."
    ),
]


def drain(
    names: Names = None,
    admin: Admins = None,
    hold: Hold = False,
    within: Annotated[
        float | None,
        typer.Option(
            "--within",
            metavar="SECONDS",
            min=0.0,
            help="Spread the devices over so long, if the rate allows it.",
            show_default="as fast as the rate allows",
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            "--rate",
            min=1,
            help="Devices asked to go in any second, at most, at each gateway.",
            show_default="gateway.drain_rate",
        ),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="URL", help="Where they are to go; may be repeated.", show_default=False),
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Have it stop once it is empty.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until all have gone, and show it.")] = True,
    devices: Store = None,
    data: Data = FOLDER,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Move all devices off gateways: they take no new ones, are not ready, and ask theirs to connect elsewhere, at a set rate. They run on,
    empty, until `taco gateway undrain` or their end."""
    order: dict[str, Any] = {}
    if rate is not None:
        order["rate"] = rate
    if within is not None:
        order["over_s"] = within
    if url:
        order["urls"] = url
    if hold:
        if admin or stop or not names:
            fail("--hold takes names, and neither --admin nor --stop", Exit.USAGE)
        _print_held(on_control(devices, data, lambda control: _switch(control, names, order)), as_json)
        return
    gateways, key = _gateways(names, admin, data), _key(data, config)
    query = {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in order.items()}
    if stop:
        query["stop"] = "true"
    for gateway in gateways:
        _told(gateway, PATH, key, query)
    if wait:
        _wait(gateways, key, as_json=as_json, until_gone=stop)


def undrain(
    names: Names = None,
    admin: Admins = None,
    hold: Hold = False,
    devices: Store = None,
    data: Data = FOLDER,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Let devices come again: ends `taco gateway drain`, or with --hold what the switch in control says of these nodes."""
    if hold:
        if admin or not names:
            fail("--hold takes names, and no --admin", Exit.USAGE)
        _print_held(on_control(devices, data, lambda control: _switch(control, names, None)), as_json)
        return
    gateways, key = _gateways(names, admin, data), _key(data, config)
    said = [_told(gateway, UNDO, key, {}) for gateway in gateways]
    for each in said:
        if each.get("by_switch"):
            fail(
                f"{each['node']} stays drained: the switch in control says so; taco gateway undrain --hold {each['node']}"
            )
    if as_json:
        print_json({"gateways": said})
    else:
        for each in said:
            print(f"{each['node']} takes devices again")


def drained(
    names: Names = None,
    admin: Admins = None,
    devices: Store = None,
    data: Data = FOLDER,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show how far gateways are with moving their devices, and which nodes the switch in control names."""
    gateways, key = _gateways(names, admin, data), _key(data, config)
    said = [_asked(gateway, key) or {"node": gateway.name or gateway.admin, "phase": "gone"} for gateway in gateways]
    held = {} if admin else on_control(devices, data, _held)
    if as_json:
        print_json({"gateways": said, "held": held})
        return
    print_table(
        ("gateway", "phase", "sessions", "asked to go", "closed", "seconds"),
        [
            [str(each.get(field, "")) for field in ("node", "phase", "sessions", "asked", "closed", "seconds")]
            for each in said
        ],
    )
    if held:
        print(f"held by the switch in control: {', '.join(held)}")


# ── by the admin port ───────────────────────────────────────────────────────────────────────────────────────────────


def _gateways(names: Sequence[str] | None, admin: Sequence[str] | None, data: Path) -> list[Process]:
    if admin:
        return [chosen(address, None, data) for address in admin]
    if names:
        found = [chosen(None, name, data) for name in names]
        for process in found:
            if process.role not in ("gateway", "all"):
                fail(f"{process.name} is no gateway", Exit.USAGE)
        return found
    gateways = [process for process in of_cluster(data) if process.role == "gateway"]
    if len(gateways) != 1:
        fail(f"which one? name it: {', '.join(process.name for process in gateways) or 'no gateway runs'}", Exit.USAGE)
    return gateways


def _key(data: Path, config: Path | None) -> str:
    key = cluster_key(data, config)
    if not key:
        fail("no cluster key: set TACO_STORES_CLUSTER_KEY, or name the folder with cluster.key by --data", Exit.USAGE)
    return key


def _told(gateway: Process, path: str, key: str, query: Mapping[str, str]) -> Mapping[str, Any]:
    called = gateway.name or gateway.admin
    if not gateway.admin:
        fail(f"{called} has no admin port (setting admin.port); use --hold")
    try:
        answer = ask(gateway.admin, path, key=key, query=query, method="POST")
    except NoAnswer as error:
        fail(f"{called} ({gateway.admin}): {error}")
    if answer.status == 401:
        fail(f"{called} ({gateway.admin}) has another cluster key")
    if answer.status != 200:
        sentence = (answer.value or {}).get("error", {}).get("message", "is this a gateway's admin port?")
        fail(f"{called} ({gateway.admin}) answered {answer.status}: {sentence}")
    said: Mapping[str, Any] = answer.value
    return said


def _asked(gateway: Process, key: str) -> Mapping[str, Any] | None:
    """None: it does not answer."""
    try:
        answer = ask(gateway.admin, PATH, key=key)
    except NoAnswer:
        return None
    return answer.value if answer.status == 200 else None


def _wait(gateways: Sequence[Process], key: str, *, as_json: bool, until_gone: bool) -> None:
    said_at = 0.0
    last: dict[str, Mapping[str, Any]] = {}
    while True:
        over = True
        for gateway in gateways:
            progress = _asked(gateway, key)
            name = gateway.name or gateway.admin
            if progress is None:
                if not until_gone:
                    fail(f"{name} ({gateway.admin}) does not answer any more")
                last[name] = {**last.get(name, {"node": name}), "phase": "gone", "sessions": 0}
                continue
            last[name] = progress
            if progress["phase"] == "serving" and not until_gone:
                fail(f"{name} was told to take devices again")
            over = over and progress["phase"] == "empty" and not until_gone
        now = time.monotonic()
        if not as_json and (over or now - said_at >= SAY_S):
            said_at = now
            for progress in last.values():
                print(_line(progress), flush=True)
        if over:
            break
        time.sleep(LOOK_S)
    if as_json:
        print_json({"gateways": list(last.values())})


def _line(progress: Mapping[str, Any]) -> str:
    """
    >>> _line({"node": "gw-1", "phase": "moving", "sessions": 3, "asked": 9, "closed": 1, "seconds": 2.0})
    'gw-1: moving, 3 sessions left, 9 asked to go, 1 closed, 2.0 s'
    """
    said = f"{progress['node']}: {progress['phase']}, {progress.get('sessions', 0)} sessions left"
    if "asked" in progress:
        said += f", {progress['asked']} asked to go, {progress['closed']} closed, {progress['seconds']:.1f} s"
    return said


# ── by the switch ───────────────────────────────────────────────────────────────────────────────────────────────────


async def _switch(control: "Control", names: Sequence[str], order: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write how these are emptied; None: not at all."""
    from push_gateway.drain_switch import CONTROL_KEY, checked

    if order is not None:
        try:
            checked(order)
        except ValueError as error:
            fail(str(error), Exit.USAGE)
    (entry,) = await control.get([CONTROL_KEY])
    held = dict((entry and entry.value) or {})
    for name in names:
        held.pop(name, None)
        if order is not None:
            held[name] = dict(order)
    await put(control, CONTROL_KEY, held or None, entry, None, show="taco gateway drained")
    return held


async def _held(control: "Control") -> dict[str, Any]:
    from push_gateway.drain_switch import CONTROL_KEY

    (entry,) = await control.get([CONTROL_KEY])
    return dict((entry and entry.value) or {})


def _print_held(held: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({"held": held})
    else:
        print(
            f"held by the switch in control: {', '.join(held) or 'no node'}; every gateway follows within a second or two"
        )
