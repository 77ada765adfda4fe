"""`taco push` and `taco message`: send one message, see where it is, take it back."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from ops.commands.options import DATA, Api, AsJson, Data, Key, Server, server
from ops.commands.output import Exit, fail


class PriorityOption(StrEnum):
    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class ChannelsOption(StrEnum):
    AUTO = "auto"
    LONG = "long"
    VENDOR = "vendor"


class KindOption(StrEnum):
    NOTIFICATION = "notification"
    PASSTHROUGH = "passthrough"


def push(
    devices: Annotated[
        list[str] | None, typer.Argument(metavar="[DEVICE]…", help="Names of the devices.", show_default=False)
    ] = None,
    alias: Annotated[
        str | None, typer.Option("--alias", help="Your own user id instead of devices: all devices that carry it.")
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--topic", help="Live, to who is subscribed to this topic now; --ttl is 0 then.")
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Live, to all devices that are connected now; --ttl is 0 then.")
    ] = False,
    title: Annotated[str | None, typer.Option("--title", "-t", help="First line of the notification.")] = None,
    body: Annotated[str | None, typer.Option("--body", "-b", help="Text of the notification.")] = None,
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="JSON", help="The message's `data`, a JSON object.")
    ] = None,
    kind: Annotated[KindOption, typer.Option("--kind")] = KindOption.NOTIFICATION,
    priority: Annotated[PriorityOption, typer.Option("--priority", "-p")] = PriorityOption.NORMAL,
    ttl: Annotated[
        int | None, typer.Option("--ttl", metavar="SECONDS", help="How long it may wait; 0: only if connected now.")
    ] = None,
    collapse: Annotated[
        str | None,
        typer.Option("--collapse", metavar="KEY", help="Among waiting messages of this key the newest stays."),
    ] = None,
    channels: Annotated[ChannelsOption, typer.Option("--channels", help="Roads it may take.")] = ChannelsOption.AUTO,
    ack_timeout: Annotated[
        int | None, typer.Option("--ack-timeout", metavar="SECONDS", help="When an ack is missed.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", metavar="KEY", help="A repeat within 24 h changes nothing.")
    ] = None,
    api: Api = None,
    key: Key = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Send a message to devices, to all devices of an alias, or live to a topic or everybody."""
    target = _target(devices, alias, topic, everyone=everyone)
    if (topic or everyone) and ttl is None:
        ttl = 0
    wished = {
        "target": target,
        "kind": kind.value,
        "title": title,
        "body": body,
        "data": None if payload is None else _object(payload),
        "priority": priority.value,
        "ttl": ttl,
        "collapse": collapse,
        "channels": channels.value,
        "ack_timeout": ack_timeout,
        "idempotency_key": idempotency_key,
    }
    from ops.commands.http import call, path_of
    from ops.commands.output import print_json

    message = {name: value for name, value in wished.items() if value is not None}
    answer = call(server(api, key, data), "POST", path_of("messages"), body=message)
    if as_json:
        print_json(answer)
    else:
        print(f"accepted: {answer['id']}")


def _target(devices: list[str] | None, alias: str | None, topic: str | None, *, everyone: bool) -> dict[str, Any]:
    given: list[dict[str, Any]] = []
    if devices:
        given.append({"device": devices[0]} if len(devices) == 1 else {"devices": devices})
    if alias:
        given.append({"alias": alias})
    if topic:
        given.append({"topic": topic})
    if everyone:
        given.append({"all": True})
    if len(given) != 1:
        fail("name devices, an --alias, a --topic, or --all: one of them", Exit.USAGE)
    return given[0]


def message(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="What `taco push` printed.")],
    recall: Annotated[bool, typer.Option("--recall", help="Take it back first.")] = False,
    api: Api = None,
    key: Key = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Show where a message is on its way to each device."""
    from ops.commands.http import call, path_of
    from ops.commands.output import print_json

    to = server(api, key, data)
    if recall:
        view = call(to, "DELETE", path_of("messages", message_id))
    else:
        view = call(to, "GET", path_of("messages", message_id))
    if as_json:
        print_json(view)
    else:
        _show(view, to)


def _show(view: dict[str, Any], to: Server) -> None:
    from ops.commands.output import print_pairs, print_table, when

    print_pairs(
        {
            "message": view["id"],
            "state": view["state"],
            "reason": view.get("reason"),
            "recalled": when(view.get("recalled_at")),
            "counts": view["counts"],
        }
    )
    rows = [
        (
            delivery["device"],
            delivery["state"],
            delivery.get("reason") or "",
            delivery.get("channel") or "",
            "  ".join(f"{state} {when(at)[11:]}" for state, at in sorted(delivery["at"].items(), key=_time)),
        )
        for delivery in view["deliveries"]
    ]
    if rows:
        print_table(("device", "state", "reason", "channel", "at"), rows)
    if view.get("next"):
        print(f"… more devices: GET {to.api}/v1/messages/{view['id']}?after={view['next']}")


def _time(step: tuple[str, int]) -> int:
    return step[1]


def _object(text: str) -> dict[str, Any]:
    import json

    try:
        value = json.loads(text)
    except ValueError as error:
        fail(f"--payload is not JSON: {error}", Exit.USAGE)
    if not isinstance(value, dict):
        fail("--payload must be a JSON object", Exit.USAGE)
    return value
