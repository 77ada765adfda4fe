"""`taco api`: the push API as a process of its own."""

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.programs import DATA, AdminPort, AsJson, Config, Data, Host, Name, Zone, serve


def api(
    config: Config = None,
    name: Name = None,
    zone: Zone = None,
    host: Host = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="Port for HTTP; 0 picks a free one.", show_default="8080"),
    ] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            "--grpc-port",
            min=-1,
            max=65_535,
            help="Port for gRPC; 0 picks a free one, -1: none.",
            show_default="8082, or a free one with --port 0",
        ),
    ] = None,
    admin_port: AdminPort = None,
    demo: Annotated[
        Path | None,
        typer.Option(
            "--demo", metavar="DIR", help="With the demo page, for the app in DIR/demo.json.", show_default="none"
        ),
    ] = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Run one push API: it takes messages, commits and publishes them. SIGTERM ends it in order."""
    if grpc_port is None and port == 0:
        grpc_port = 0  # who asks for a free port runs several side by side
    serve(
        "api",
        {"name": name, "zone": zone, "host": host, "api_port": port, "grpc_port": grpc_port, "admin_port": admin_port},
        config=config,
        data=data,
        as_json=as_json,
        demo=demo,
    )
