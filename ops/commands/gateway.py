"""`taco gateway`: a gateway as a process of its own, and what is asked of one that runs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands import gateway_drain, gateway_heartbeat, gateway_rules, options
from ops.commands.control import on_control
from ops.commands.output import Exit, fail
from ops.commands.programs import DATA, AdminPort, AsJson, Config, Data, Host, Name, Zone, serve, serve_workers
from ops.commands.stores import Store

if TYPE_CHECKING:
    from push_core.control.port import Control

group = typer.Typer(invoke_without_command=True)


@group.callback()
def gateway(
    context: typer.Context,
    config: Config = None,
    name: Name = None,
    zone: Zone = None,
    host: Host = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="Port for devices; 0 picks a free one.", show_default="8081"),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=1,
            max=256,
            help="Processes that share the port, each a node: NAME.1, NAME.2, … With a fixed admin port theirs follow it.",
        ),
    ] = 1,
    admin_port: AdminPort = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Run one gateway, or several on one port: it holds the connections of devices. SIGTERM ends it in order."""
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    overrides = {"name": name, "zone": zone, "host": host, "gateway_port": port, "admin_port": admin_port}
    if workers == 1:
        serve("gateway", overrides, config=config, data=data, as_json=as_json)
    else:
        serve_workers(workers, overrides, config=config, data=data, as_json=as_json)


@group.command("broadcast-rate")
def broadcast_rate(
    rate: Annotated[
        float | None,
        typer.Argument(metavar="[RATE]", min=0, help="Sessions a second; 0: no limit. Left out: show what is set."),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="The gateways' own again ([gateway] broadcast_rate).")] = False,
    devices: Store = None,
    data: options.Data = options.DATA,
    as_json: options.AsJson = False,
) -> None:
    """Set to how many sessions a second live broadcasts are written, all gateways together; it counts within a second or two."""
    from ops.commands.output import print_json, print_pairs
    from push_gateway.broadcasts import RATE_KEY

    if reset and rate is not None:
        fail("--reset stands alone", Exit.USAGE)

    async def work(control: "Control") -> dict[str, Any]:
        if reset or rate is not None:
            await control.put(RATE_KEY, rate)
        (entry,) = await control.get([RATE_KEY])
        return {"rate": entry.value if entry is not None else None}

    shown = on_control(devices, data, work)
    if as_json:
        print_json(shown)
    else:
        print_pairs(shown)


def _refuse_options(context: typer.Context) -> None:
    """Those of a gateway that is to run, before a command about one that does: they would be passed over in silence."""
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source is not None and source.name == "COMMANDLINE":
            option, command = parameter.opts[0], context.invoked_subcommand
            fail(f"{option} stands behind the command: taco gateway {command} {option} …", Exit.USAGE)


group.command()(gateway_drain.drain)
group.command()(gateway_drain.undrain)
group.command()(gateway_drain.drained)
group.add_typer(gateway_rules.group, name="rules")
group.add_typer(gateway_heartbeat.group, name="heartbeat")
