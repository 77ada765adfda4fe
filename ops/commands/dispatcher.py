"""`taco dispatcher`: the dispatcher as a process of its own, with all of its roles or some."""

from typing import Annotated

import typer

from ops.commands.programs import DATA, AdminPort, AsJson, Config, Data, Name, Zone, serve


def dispatcher(
    roles: Annotated[
        str | None,
        typer.Option(
            "--roles",
            metavar="ROLE,…",
            help="What it does: long (batches for connected devices), vendor (calls to vendors), relay (later work and what crashes left), "
            "receipts.",
            show_default="all",
        ),
    ] = None,
    config: Config = None,
    name: Name = None,
    zone: Zone = None,
    admin_port: AdminPort = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Run one dispatcher: it brings messages to gateways and vendors, and receipts to the store. SIGTERM ends it in order."""
    chosen = tuple(role.strip() for role in roles.split(",") if role.strip()) if roles is not None else None
    serve(
        "dispatcher",
        {"name": name, "zone": zone, "roles": chosen, "admin_port": admin_port},
        config=config,
        data=data,
        as_json=as_json,
    )
