"""`taco token`: a device token, as a business's own server would make it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ops.commands.options import DATA, AsJson, Data, demo_of
from ops.commands.output import Exit, fail

AppName = Annotated[
    str | None, typer.Option("--app", envvar="TACO_APP", help="The app.", show_default="from DATA/demo.json")
]
DeviceSecret = Annotated[
    str | None,
    typer.Option(
        "--secret",
        envvar="TACO_DEVICE_SECRET",
        metavar="SECRET",
        help="The app's device secret.",
        show_default="from DATA/demo.json",
    ),
]


def token(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device that may sign in with it.")],
    ttl: Annotated[
        int, typer.Option("--ttl", metavar="SECONDS", help="How long it is valid; at most 30 days.")
    ] = 86_400,
    topics: Annotated[
        list[str] | None,
        typer.Option("--topic", metavar="PATTERN", help="Topics it may subscribe to, as city-*. May be repeated."),
    ] = None,
    app: AppName = None,
    secret: DeviceSecret = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Make a token with which a device signs in."""
    from ops.commands.output import print_json

    made = mint_for(device, app, secret, data, ttl, topics=topics or ())
    if as_json:
        print_json({"token": made})
    else:
        print(made)


def mint_for(
    device: str,
    app: str | None,
    secret: str | None,
    data: Path,
    ttl_s: int = 86_400,
    *,
    topics: Sequence[str] = (),
) -> str:
    """A token by the secret given, or by that of the demo app."""
    from ops.tokens import mint
    from push_core.clock import wall_ms

    demo = demo_of(data)
    app = app or (demo.app if demo else None)
    if secret is None and demo is not None and app == demo.app:
        secret = demo.device_secret
    if not app or not secret:
        fail(f"give --app and --secret (or start `taco up`, whose demo app is in {data / 'demo.json'})", Exit.USAGE)
    try:
        return mint(app, device, secret, now_s=wall_ms() // 1000, ttl_s=ttl_s, topics=topics)
    except ValueError as error:
        fail(str(error), Exit.USAGE)
