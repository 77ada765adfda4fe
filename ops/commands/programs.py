"""What `taco api`, `taco gateway` and `taco dispatcher` share: their options, and the way from those to a running process."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands.output import Exit, fail, print_json

if TYPE_CHECKING:
    from ops.settings import AllSettings

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings, TOML.", show_default="taco.toml, if there is one"),
]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of this process.")]
Zone = Annotated[
    str | None, typer.Option("--zone", metavar="ZONE", help="Zone of this process.", show_default="default")
]
Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.", show_default="127.0.0.1")
]
AdminPort = Annotated[
    int | None,
    typer.Option(
        "--admin-port",
        min=-1,
        max=65_535,
        help="Port of /healthz, /readyz and /metrics; 0 picks a free one, -1: none.",
        show_default="a free one",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        "--data", envvar="TACO_DATA", metavar="DIR", help="Folder of cluster.key and of the copy of runtime values."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Log JSON lines even on a terminal.")]
DATA = Path("data")


def serve(
    role: str, overrides: Mapping[str, Any], *, config: Path | None, data: Path, as_json: bool, **more: Any
) -> None:
    """Run the program until it is told to stop; on stdout one line of JSON once it serves. `overrides` are fields of `Overrides`, `more`
    what this role alone is made with."""

    def run(settings: "AllSettings") -> int:
        from ops import program, roles

        plan = roles.PLANS[role](settings, data, **more)
        return program.run(plan, lambda serving: print_json(serving.to_dict()))

    _run(run, overrides, config=config, data=data, as_json=as_json)


def serve_workers(count: int, overrides: Mapping[str, Any], *, config: Path | None, data: Path, as_json: bool) -> None:
    """As `serve`, for `count` gateways and their parent."""
    arguments = ["--data", str(data)]
    if config is not None:
        arguments += ["--config", str(config)]
    if as_json:
        arguments.append("--json")

    def run(settings: "AllSettings") -> int:
        from ops import roles, workers

        roles.gateway(settings, data)  # what no worker could start with is told once
        return workers.run(workers.Workers(settings, count, arguments, data), print_json)

    _run(run, overrides, config=config, data=data, as_json=as_json)


def _run(
    run: "Callable[[AllSettings], int]", overrides: Mapping[str, Any], *, config: Path | None, data: Path, as_json: bool
) -> None:
    import os

    from ops import process

    process.prepare(as_json=as_json)
    from ops.cluster_key import with_cluster_key
    from ops.settings import Overrides, load_all, with_source
    from push_core.errors import ConfigError

    try:
        status = run(with_cluster_key(load_all(data, config, os.environ, Overrides(**overrides)), data))
    except ConfigError as error:
        fail(with_source(str(error), config, os.environ), Exit.USAGE)
    raise typer.Exit(status)
