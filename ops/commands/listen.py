"""`taco listen`: a device in a terminal, on the Python SDK."""

import asyncio
import json
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands.options import DATA, AsJson, Data, demo_of
from ops.commands.output import Exit, fail
from ops.commands.token import AppName, DeviceSecret, mint_for

if TYPE_CHECKING:
    from sdk_proto.python import Options, Problem, Push, Status


def listen(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device's name.")],
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many pushes.")] = None,
    topics: Annotated[
        list[str] | None,
        typer.Option("--topic", metavar="TOPIC", help="Subscribe to this; its token allows it. May be repeated."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="FILE", help="Remember shown ids over a restart.")
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(
            "--gateway",
            envvar="TACO_GATEWAY",
            metavar="URL",
            help="ws:// or wss://.",
            show_default="from DATA/demo.json",
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", metavar="FILE", help="Authorities to believe (PEM) with wss://.", show_default="the system's"
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", envvar="TACO_TOKEN", metavar="JWT", help="Sign in with this one instead of making one."
        ),
    ] = None,
    app: AppName = None,
    secret: DeviceSecret = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Be a device: print each push, once, and acknowledge it. Ctrl-C ends it."""
    from sdk_proto.python import Options

    demo = demo_of(data)
    gateway = gateway or (demo.gateway if demo else None)
    app = app or (demo.app if demo else None)
    if not gateway or not app:
        fail(f"no {data / 'demo.json'} here: start `taco up`, or give --gateway and --app", Exit.USAGE)
    if token is None:
        mint_for(device, app, secret, data)  # so that what is missing is said before anything is dialled

    def fresh(_refused: int | None) -> str:
        return mint_for(device, app, secret, data, topics=topics or ())

    try:
        options = Options(
            url=gateway,
            app=app,
            device=device,
            token=token or fresh,
            store=store,
            stop_grace_s=1.0,
            tls=_believing(ca) if ca is not None else None,
        )
        ended = asyncio.run(_listen(options, count, topics or (), as_json=as_json))
    except ValueError as error:
        fail(str(error), Exit.USAGE)
    if ended is not None:
        fail(f"the gateway ended it: {ended.reason or 'no reason given'} (close code {ended.code})")


def _believing(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (ssl.SSLError, OSError):
        fail(f"--ca: {ca} holds no certificate that can be read (PEM)", Exit.USAGE)


async def _listen(options: "Options", count: int | None, topics: Sequence[str], *, as_json: bool) -> "Status | None":
    """Until enough has come; the status if the server ended it for good."""
    from sdk_proto.python import Client

    enough = asyncio.Event()
    shown = 0
    last = ""
    logging.getLogger("taco").addHandler(logging.NullHandler())  # problems are printed by `_print_problem`

    async def on_push(push: "Push") -> None:
        nonlocal shown
        if count is not None and shown >= count:
            # Not shown means not handled: it stays un-acked, and comes again when somebody listens.
            await asyncio.Event().wait()
        shown += 1
        _print_push(push, as_json=as_json)
        if shown == count:
            enough.set()

    def on_status(status: "Status") -> None:
        # An attempt that fails reports "connecting" as it starts and as it ends; one line is enough for people.
        nonlocal last
        line = _status_line(status)
        if as_json or line != last:
            _print_status(status, line, as_json=as_json)
        last = line

    client = Client(
        options,
        on_push,
        on_recall=lambda message_id: _print_line(
            {"recall": str(message_id)}, f"recalled {message_id}", as_json=as_json
        ),
        on_status=on_status,
        on_problem=lambda problem: _print_problem(problem, as_json=as_json),
    )
    client.subscribe(*topics)
    async with client:
        stopped = asyncio.ensure_future(client.stopped())
        counted = asyncio.ensure_future(enough.wait())
        await asyncio.wait({stopped, counted}, return_when=asyncio.FIRST_COMPLETED)
        counted.cancel()
        if stopped.done():
            return stopped.result()
        stopped.cancel()
        return None


def _print_push(push: "Push", *, as_json: bool) -> None:
    import msgspec

    from ops.commands.output import when

    # What devices get is others' text: control characters must not reach the terminal.
    text = " – ".join(part for part in (push.title, push.body) if part)
    safe = "".join(character if character.isprintable() else "�" for character in text)
    data = json.loads(bytes(push.data)) if bytes(push.data) else None
    line = f"{when(push.sent)[11:]}  {push.priority:<6}  {push.id}  {safe}"
    if data is not None:
        line += f"  {json.dumps(data, ensure_ascii=True)}"
    if push.again:
        line += "  (again)"
    value = msgspec.structs.asdict(push) | {"id": str(push.id), "data": data}
    _print_line({"push": {name: item for name, item in value.items() if item is not None}}, line, as_json=as_json)


def _status_line(status: "Status") -> str:
    reason = f": {status.reason} ({status.code})" if status.code is not None else ""
    pending = f", {status.pending} waiting" if status.pending else ""
    if status.retry_s is not None:
        pending = f" {status.retry_s:.1f} s"
    return f"{status.state}{pending}{reason}"


def _print_status(status: "Status", line: str, *, as_json: bool) -> None:
    value = {"state": status.state, "session": status.session, "code": status.code, "pending": status.pending}
    _print_line({"status": value}, line, as_json=as_json)


def _print_problem(problem: "Problem", *, as_json: bool) -> None:
    value = {"kind": problem.kind, "error": str(problem.error), "id": problem.message_id and str(problem.message_id)}
    _print_line({"problem": value}, f"problem ({problem.kind}): {problem.error}", as_json=as_json)


def _print_line(value: dict[str, Any], line: str, *, as_json: bool) -> None:
    from ops.commands.output import print_json

    if as_json:
        print_json(value)
    else:
        print(line, flush=True)
