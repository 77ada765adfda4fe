"""`taco up`: everything in one process, until Ctrl-C."""

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.options import DATA, AsJson, Data
from ops.commands.output import Exit, fail

if TYPE_CHECKING:
    from ops.local import Addresses


def up(
    data: Data = DATA,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    api_port: Annotated[
        int | None,
        typer.Option(
            "--api-port", min=0, max=65_535, help="Port of the push API; 0 picks a free one.", show_default="8080"
        ),
    ] = None,
    gateway_port: Annotated[
        int | None,
        typer.Option(
            "--gateway-port", min=0, max=65_535, help="Port for devices; 0 picks a free one.", show_default="8081"
        ),
    ] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            "--grpc-port",
            min=-1,
            max=65_535,
            help="Port of the push API over gRPC; 0 picks a free one, -1: none.",
            show_default="8082, or a free one with --api-port 0",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings, TOML.", show_default="taco.toml, if there is one"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start Taco here: push API, gateway and dispatcher, with an app `demo` and a page to try it."""
    import os

    from ops import process

    process.prepare(as_json=as_json)
    from ops.data_folder import DataFolder
    from ops.local import run
    from ops.settings import Overrides, load_all, with_source
    from push_core.errors import ConfigError, TacoError

    if grpc_port is None and api_port == 0:
        grpc_port = 0  # who asks for a free port runs several side by side
    try:
        settings = load_all(data, config, os.environ, Overrides(host, api_port, gateway_port, grpc_port))
        with DataFolder(data) as folder:
            if settings.stores.cluster_key is None:
                settings = settings.with_cluster_key(folder.cluster_key())
            status = run(folder, settings, lambda addresses: announce(addresses, data, as_json=as_json))
    except ConfigError as error:
        fail(with_source(str(error), config, os.environ), Exit.USAGE)
    except TacoError as error:
        fail(error.message)
    raise typer.Exit(status)


def announce(addresses: "Addresses", data: Path, *, as_json: bool) -> None:
    """What a first start says."""
    from ops.commands.output import print_json
    from ops.demo_app import PAGE_DEVICE

    if as_json:
        print_json(addresses.to_dict())
        return
    demo = addresses.demo
    folder = "" if data == DATA else f" --data {shlex.quote(str(data))}"
    print(
        f"""
Taco is up; its data is in {data}, Ctrl-C stops it.

  push API  {demo.api}   (described at {demo.api}/openapi.json)
  gRPC      {addresses.grpc or "off"}
  gateway   {demo.gateway}
  app       {demo.app}
  key       {demo.key}
  page      {demo.page}

Open the page, and push to the device that it is:

  {curl_line(demo.api, demo.key, PAGE_DEVICE)}

Or be a device in another terminal:

  {program()} listen phone-1{folder}
""",
        flush=True,
    )


def program() -> str:
    """How to start this very `taco` from here: `make run` does not put it on the PATH."""
    import shutil

    on_path = shutil.which("taco")
    this = Path(sys.argv[0])
    if this.name != "taco" or not this.exists() or (on_path and Path(on_path).resolve() == this.resolve()):
        return "taco"
    with suppress(ValueError):
        this = this.absolute().relative_to(Path.cwd())
    return shlex.quote(str(this))


def curl_line(api: str, key: str, device: str) -> str:
    """A push that can be pasted into a shell."""
    body = f'{{"target":{{"device":"{device}"}},"title":"Hello","body":"from curl"}}'
    return f"curl {api}/v1/messages -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{body}'"
