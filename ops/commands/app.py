"""`taco app …`: tenants and their secrets. Works on the device store itself, beside a running `taco up` or without one."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ops.commands.control import on_control
from ops.commands.options import DATA, AsJson, Data
from ops.commands.output import Exit, fail
from ops.commands.stores import Store, on_store

if TYPE_CHECKING:
    from push_core.control.port import Control
    from push_core.devices.port import Devices
    from push_core.models import App

T = TypeVar("T")

group = typer.Typer(
    no_args_is_help=True,
    help="Create apps, list them, rotate their secrets, set their webhooks, rates and topics, disable them.",
)

Name = Annotated[str, typer.Argument(metavar="APP", help="1 to 64 of a-z, 0-9, - and _.")]


@group.command()
def create(
    app: Name,
    queue_class: Annotated[str, typer.Option("--queue-class", help="Queues that its messages take.")] = "shared",
    devices: Store = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Make an app and print its key and device secret, once."""
    from ops.apps import new_app
    from push_core.clock import wall_ms

    async def work(store: "Devices") -> dict[str, Any]:
        if (await store.apps([app]))[0] is not None:
            fail(f"there is an app {app} already; `taco app rotate {app}` gives it new secrets")
        try:
            made, secrets = new_app(app, now=wall_ms(), queue_class=queue_class)
        except ValueError as error:
            fail(str(error), Exit.USAGE)
        await store.put_apps([made])
        return {"app": app, "key": secrets.key, "device_secret": secrets.device_secret}

    _print_once(_on_devices(devices, data, work), as_json)


@group.command()
def rotate(app: Name, devices: Store = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Give an app a new key and device secret; the newest earlier ones stay valid until the next rotation."""
    from ops.apps import with_new_device_secret, with_new_key

    async def work(store: "Devices") -> dict[str, Any]:
        changed, key = with_new_key(await _known(store, app))
        changed, device_secret = with_new_device_secret(changed)
        await store.put_apps([changed])
        return {"app": app, "key": key, "device_secret": device_secret}

    _print_once(_on_devices(devices, data, work), as_json)


@group.command("list")
def list_apps(devices: Store = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """List the apps."""
    from ops.commands.output import print_json, print_table

    async def work(store: "Devices") -> list[dict[str, Any]]:
        return [_public(app) for app in await store.all_apps()]

    apps = _on_devices(devices, data, work)
    if as_json:
        print_json({"apps": apps})
    else:
        print_table(
            ("app", "disabled", "keys", "queue class"),
            [(a["app"], a["disabled"], a["keys"], a["queue_class"]) for a in apps],
        )


@group.command()
def show(app: Name, devices: Store = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Show an app; its secrets are never shown again."""
    _print(_on_devices(devices, data, lambda store: _shown(store, app)), as_json)


@group.command()
def disable(app: Name, devices: Store = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Refuse an app's calls and its devices' sign-ins, within seconds."""
    _print(_on_devices(devices, data, lambda store: _set_disabled(store, app, disabled=True)), as_json)


@group.command()
def enable(app: Name, devices: Store = None, data: Data = DATA, as_json: AsJson = False) -> None:
    """Undo `disable`."""
    _print(_on_devices(devices, data, lambda store: _set_disabled(store, app, disabled=False)), as_json)


@group.command()
def webhook(
    app: Name,
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="Where deliveries are POSTed; left out: show what is set.")
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Send no Taco-Signature.")] = False,
    new_secret: Annotated[bool, typer.Option("--new-secret", help="Sign with another secret from now on.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Have no webhook any more.")] = False,
    devices: Store = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Set where the app's `webhook` channel sends what a device did not acknowledge; print the signing secret, once."""
    from ops.apps import WEBHOOK, with_webhook

    if (remove and (url or unsigned or new_secret)) or (unsigned and new_secret):
        fail("--remove stands alone, and so do --unsigned and --new-secret", Exit.USAGE)

    async def work(store: "Devices") -> dict[str, Any]:
        known = await _known(store, app)
        to = url or known.channels.get(WEBHOOK, {}).get("url")
        made = None
        if url or remove or new_secret or unsigned:
            if to is None and not remove:
                fail(f"app {app} has no webhook yet; name its URL", Exit.USAGE)
            try:
                known, made = with_webhook(known, None if remove else to, sign=not unsigned, renew=new_secret)
            except ValueError as error:
                fail(str(error), Exit.USAGE)
            await store.put_apps([known])
        settings = known.channels.get(WEBHOOK, {})
        shown = {"app": app, "url": settings.get("url"), "signed": "secret" in settings}
        return shown | ({"secret": made} if made else {})

    shown = _on_devices(devices, data, work)
    if "secret" in shown:
        _print_once(shown, as_json)
    else:
        _print(shown, as_json)


@group.command()
def limit(
    app: Name,
    rate: Annotated[
        float | None,
        typer.Argument(metavar="[RATE]", help="Messages a second; 0: no limit. Left out: show what is set."),
    ] = None,
    burst: Annotated[
        int | None, typer.Option("--burst", help="Messages at once; left out: as many as in a second.")
    ] = None,
    sessions: Annotated[
        int | None, typer.Option("--sessions", help="Sessions at a time on each gateway; 0: no limit.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="What the settings say again ([api] app_rate, [gateway] app_sessions).")
    ] = False,
    devices: Store = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Set how many messages the app may send, all its callers and all processes together, and how many sessions of it a gateway takes; it counts
    within seconds."""
    from ops.apps import with_limit, with_sessions

    if (reset and (rate, burst, sessions) != (None, None, None)) or (burst is not None and rate is None):
        fail("--reset stands alone, and --burst goes with a rate", Exit.USAGE)

    async def work(store: "Devices") -> dict[str, Any]:
        known = await _known(store, app)
        try:
            if rate is not None or reset:
                known = with_limit(known, rate, burst)
            if sessions is not None or reset:
                known = with_sessions(known, sessions)
        except ValueError as error:
            fail(str(error), Exit.USAGE)
        if (rate, sessions, reset) != (None, None, False):
            await store.put_apps([known])
        return {"app": app, "rate": known.rate, "burst": known.burst, "sessions": known.sessions}

    _print(_on_devices(devices, data, work), as_json)


@group.command()
def topics(
    app: Name,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATTERN…]",
            help="Topics, or beginnings with a * behind them: news city-*. Left out: show what is set.",
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Allow no topics any more.")] = False,
    devices: Store = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Set which topics all devices of an app may subscribe to, besides those that a device's token names. It counts within a second or two, for
    what is subscribed from then on."""
    from push_core.topics import MAX_PATTERNS, control_key, patterns_of

    if patterns and clear:
        fail("--clear stands alone", Exit.USAGE)
    allowed = patterns_of(patterns)
    if allowed is None:
        fail(
            f"a topic has letters, digits and _ . : / - , a pattern may have one * at its end; {MAX_PATTERNS} patterns at most",
            Exit.USAGE,
        )

    async def work(control: "Control") -> dict[str, Any]:
        key = control_key(app)
        if allowed:
            await control.put(key, list(allowed))
        elif clear:
            await control.put(key, None)
        (entry,) = await control.get([key])
        return {"app": app, "topics": list((entry and entry.value) or ())}

    if allowed:
        _on_devices(devices, data, lambda store: _known(store, app))
    _print(on_control(devices, data, work), as_json)


async def _shown(store: "Devices", name: str) -> dict[str, Any]:
    return _public(await _known(store, name))


async def _set_disabled(store: "Devices", name: str, *, disabled: bool) -> dict[str, Any]:
    import msgspec

    changed = msgspec.structs.replace(await _known(store, name), disabled=disabled)
    await store.put_apps([changed])
    return _public(changed)


async def _known(store: "Devices", name: str) -> "App":
    app = (await store.apps([name]))[0]
    if app is None:
        fail(f"there is no app {name}")
    return app


def _public(app: "App") -> dict[str, Any]:
    return {
        "app": app.name,
        "disabled": app.disabled,
        "queue_class": app.queue_class,
        "keys": len(app.key_hashes),
        "device_secrets": len(app.device_secrets),
        "public_keys": [key.kid or key.algorithm for key in app.public_keys],
        "channels": sorted(app.channels),
        "rate": app.rate,
        "burst": app.burst,
        "created": app.created,
    }


def _on_devices(dsn: str | None, data: Path, work: "Callable[[Devices], Awaitable[T]]") -> T:
    from push_core.adapters import open_devices

    return on_store(open_devices, dsn, data, work)


def _print(app: dict[str, Any], as_json: bool) -> None:
    from ops.commands.output import print_json, print_pairs, when

    if as_json:
        print_json(app)
    else:
        print_pairs(app | {"created": when(app.get("created"))})


def _print_once(secrets: dict[str, Any], as_json: bool) -> None:
    from ops.commands.output import print_json, print_pairs

    if as_json:
        print_json(secrets)
    else:
        print_pairs(secrets)
        print("Keep this now: secrets are not shown again.")
