"""`taco cluster`: servers and programs as processes of their own on this machine, until Ctrl-C."""

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.options import AsJson
from ops.commands.output import Exit, fail, print_error

DATA = Path("data/cluster")


def cluster(
    data: Annotated[
        Path, typer.Option("--data", envvar="TACO_DATA", metavar="DIR", help="Folder for all that it makes.")
    ] = DATA,
    gateways: Annotated[int, typer.Option("--gateways", min=1, max=64, help="Gateways.")] = 2,
    dispatchers: Annotated[int, typer.Option("--dispatchers", min=1, max=64, help="Dispatchers.")] = 2,
    apis: Annotated[int, typer.Option("--apis", min=1, max=64, help="Processes of the push API.")] = 1,
    relays: Annotated[
        int,
        typer.Option(
            "--relays", min=0, max=64, help="Dispatchers that do nothing but relay; the others then do all the rest."
        ),
    ] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Workers of each gateway, on one port.")] = 1,
    api_port: Annotated[
        int, typer.Option("--api-port", min=0, max=65_535, help="Port of the first API; 0 picks a free one.")
    ] = 8080,
    gateway_port: Annotated[
        int,
        typer.Option(
            "--gateway-port",
            min=0,
            max=65_535,
            help="Port of the first gateway, the others have the next ones; 0 picks free ones.",
        ),
    ] = 8081,
    metrics: Annotated[str, typer.Option("--metrics", metavar="DSN", help="Where metrics go.")] = "prometheus://",
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings, TOML, over those that the cluster makes."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a cluster here: Redis, MariaDB, RabbitMQ and each program as processes of their own; what dies is started again."""
    import os

    from ops import process
    from ops.cluster.cluster import run
    from ops.cluster.install import ensure_installed
    from ops.cluster.plan import Options
    from ops.cluster.servers import ServerFailed
    from ops.cluster.supervisor import ChildFailed
    from ops.commands.up import announce
    from ops.data_folder import DataFolder
    from ops.settings import with_source
    from push_core.errors import ConfigError, TacoError

    process.prepare(as_json=as_json)
    options = Options(
        gateways=gateways,
        dispatchers=dispatchers,
        apis=apis,
        relays=relays,
        workers=workers,
        api_port=api_port,
        gateway_port=gateway_port,
        metrics=metrics,
        config=config,
    )
    try:
        with DataFolder(data) as folder:
            ensure_installed(print_error)
            status = run(folder, options, lambda addresses: announce(addresses, data, as_json=as_json))
    except ConfigError as error:
        fail(with_source(str(error), config, os.environ), Exit.USAGE)
    except TacoError as error:
        fail(error.message)
    except (ServerFailed, ChildFailed) as error:
        fail(str(error))
    raise typer.Exit(status)
