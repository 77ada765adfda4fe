"""`taco gateway`: a gateway as a process of its own."""

from typing import Annotated

import typer

from ops.commands.programs import DATA, AdminPort, AsJson, Config, Data, Host, Name, Zone, serve


def gateway(
    config: Config = None,
    name: Name = None,
    zone: Zone = None,
    host: Host = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="Port for devices; 0 picks a free one.", show_default="8081"),
    ] = None,
    admin_port: AdminPort = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Run one gateway: it holds the connections of devices. SIGTERM ends it in order."""
    serve(
        "gateway",
        {"name": name, "zone": zone, "host": host, "gateway_port": port, "admin_port": admin_port},
        config=config,
        data=data,
        as_json=as_json,
    )
