"""`taco device …`: records of devices, whether they are connected, and keeping them out."""

from typing import Annotated, Any

import typer

from ops.commands.options import DATA, Api, AsJson, Data, Key, server
from ops.commands.output import Exit, fail

group = typer.Typer(no_args_is_help=True, help="Register devices, see whether they are connected, keep them out.")

Name = Annotated[str, typer.Argument(metavar="DEVICE", help="The device's name.")]


@group.command()
def put(
    device: Name,
    alias: Annotated[str | None, typer.Option("--alias", help="Your own user id.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="May be repeated.")] = None,
    platform: Annotated[str | None, typer.Option("--platform", help="For example android or ios.")] = None,
    vendor_token: Annotated[
        list[str] | None, typer.Option("--vendor-token", metavar="CHANNEL=TOKEN", help="May be repeated.")
    ] = None,
    locale: Annotated[str | None, typer.Option("--locale")] = None,
    time_zone: Annotated[str | None, typer.Option("--time-zone")] = None,
    app_version: Annotated[str | None, typer.Option("--app-version")] = None,
    api: Api = None,
    key: Key = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Register a device, or replace its record."""
    tokens = dict(_pair(text) for text in vendor_token or [])
    wished = {
        "alias": alias,
        "tags": tag or None,
        "platform": platform,
        "vendor_tokens": tokens or None,
        "locale": locale,
        "time_zone": time_zone,
        "app_version": app_version,
    }
    body = {name: value for name, value in wished.items() if value is not None}
    _call(api, key, data, "PUT", device, as_json=as_json, body=body)


@group.command()
def get(device: Name, api: Api = None, key: Key = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Show a device's record."""
    _call(api, key, data, "GET", device, as_json=as_json)


@group.command()
def forget(device: Name, api: Api = None, key: Key = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Remove a device's record."""
    _call(api, key, data, "DELETE", device, as_json=as_json, done="forgotten")


@group.command()
def presence(device: Name, api: Api = None, key: Key = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Say whether a device is connected, where, and since when."""
    _call(api, key, data, "GET", device, "presence", as_json=as_json)


@group.command()
def disconnect(device: Name, api: Api = None, key: Key = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """End a device's session; it may come back at once."""
    from ops.commands.http import call, path_of
    from ops.commands.output import print_json

    answer = call(server(api, key, data), "POST", path_of("devices", device, verb="disconnect"))
    if as_json:
        print_json(answer)
    else:
        print(f"{'disconnected' if answer['disconnected'] else 'was not connected'}: {device}")


@group.command()
def block(device: Name, api: Api = None, key: Key = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """End a device's session and refuse it until it is unblocked."""
    _call(api, key, data, "POST", device, verb="block", as_json=as_json, done="blocked")


@group.command()
def unblock(device: Name, api: Api = None, key: Key = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Let a blocked device sign in again."""
    _call(api, key, data, "POST", device, verb="unblock", as_json=as_json, done="unblocked")


def _call(
    api: Api,
    key: Key,
    data: Data,
    method: str,
    device: str,
    *more: str,
    as_json: bool,
    verb: str = "",
    done: str = "",
    body: dict[str, Any] | None = None,
) -> None:
    from ops.commands.http import call, path_of
    from ops.commands.output import print_json, print_pairs, when

    answer = call(server(api, key, data), method, path_of("devices", device, *more, verb=verb), body=body)
    if as_json:
        print_json(answer)
    elif done:
        print(f"{done}: {device}")
    else:
        print_pairs({name: when(value) if name in ("since", "updated") else value for name, value in answer.items()})


def _pair(text: str) -> tuple[str, str]:
    channel, sign, token = text.partition("=")
    if not (channel and sign and token):
        fail("--vendor-token must look like CHANNEL=TOKEN", Exit.USAGE)
    return channel, token
