"""`taco doctor`: looks at an installation and says what is wrong, or will be."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.options import DATA, AsJson
from ops.commands.output import Exit, fail, print_json, print_table
from ops.commands.processes import FOLDER
from ops.commands.stores import settings_file

if TYPE_CHECKING:
    from ops.doctor.examine import Patient

Count = Annotated[
    int | None, typer.Option(min=0, max=10_000, help="How many run.", show_default="DATA/cluster.json, or 1")
]


def doctor(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings, TOML.",
            show_default="DATA/cluster.toml or taco.toml, if there is one",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="TACO_DATA",
            metavar="DIR",
            help="Folder of `taco up`, `taco cluster` or the programs.",
            show_default="data/cluster, if a cluster was started there; else data",
        ),
    ] = None,
    apis: Count = None,
    gateways: Count = None,
    dispatchers: Count = None,
    as_json: AsJson = False,
) -> None:
    """Look at stores, versions, durability, limits, clocks, keys, nodes and the shard map. Exit status 1 when something fails; changes nothing."""
    import asyncio
    import os

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import logging

    from ops import logs

    logs.configure(as_json=as_json, level=logging.CRITICAL)  # what adapters say of outages is a finding here
    from ops.doctor.examine import examine, summary
    from push_core.errors import ConfigError

    if data is None:
        data = FOLDER if (FOLDER / "cluster.json").exists() else DATA
    counts = {"api": apis, "gateway": gateways, "dispatcher": dispatchers}
    try:
        checks = asyncio.run(examine(_patient(config, data, counts)))
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    found = summary(checks)
    if as_json:
        print_json(found)
    else:
        print_table(
            ("", "what", "found", "what to do"),
            ([check.verdict.value, check.name, check.found, check.do] for check in checks),
        )
    if not found["ok"]:
        raise typer.Exit(Exit.FAILED)


def _patient(config: Path | None, data: Path, counts: dict[str, int | None]) -> "Patient":
    """Raises ConfigError."""
    import os

    from ops.data_folder import CLUSTER_KEY_FILE
    from ops.doctor.examine import Patient
    from ops.settings import Overrides, load_all

    config = settings_file(data, config)
    settings = load_all(data, config, os.environ, Overrides())
    if settings.stores.cluster_key is None and (data / CLUSTER_KEY_FILE).is_file():
        settings = settings.with_cluster_key((data / CLUSTER_KEY_FILE).read_text().strip())
    known = _running(data)
    separate = bool(known) or settings.stores.presence.partition("://")[0] != "memory"
    processes = sum(
        count if count is not None else known.get(role, 0 if known else 1) for role, count in counts.items()
    )
    return Patient(settings, data, separate, processes if separate else 1)


def _running(data: Path) -> dict[str, int]:
    """Processes by role, as `taco cluster` wrote them down; empty where it did not."""
    import json

    try:
        entries = json.loads((data / "cluster.json").read_text())["processes"]
        found: dict[str, int] = {}
        for entry in entries:
            found[entry["role"]] = found.get(entry["role"], 0) + max(1, len(entry.get("workers", ())))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found
