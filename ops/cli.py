"""The `taco` command. Puts the commands together and turns trouble into a sentence and an exit status: 1 failed, 2 bad usage or configuration.

Starts fast, because `--help` and shell completion run it: a command imports what it needs when it runs.
"""

import sys

import typer

from ops.commands import (
    api,
    app,
    cluster,
    db,
    debug,
    device,
    dispatcher,
    doctor,
    gateway,
    listen,
    messages,
    queue,
    status,
    token,
    up,
    version,
    zones,
)
from ops.commands.output import CommandFailed, print_error

cli = typer.Typer(
    name="taco",
    help="Taco, a mobile push platform. `taco up` starts all of it here; the rest talks to a running one.",
    no_args_is_help=True,
    # A traceback with local variables would show secrets.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
cli.command()(up.up)
cli.command()(cluster.cluster)
cli.command()(api.api)
cli.add_typer(gateway.group, name="gateway")
cli.command()(dispatcher.dispatcher)
cli.command()(messages.push)
cli.command()(messages.message)
cli.command()(listen.listen)
cli.add_typer(device.group, name="device")
cli.add_typer(app.group, name="app")
cli.add_typer(db.group, name="db")
cli.add_typer(zones.group, name="zones")
cli.add_typer(queue.group, name="queue")
cli.command()(status.status)
cli.command()(doctor.doctor)
cli.add_typer(debug.group, name="debug")
cli.command()(token.token)
cli.command()(version.version)


def main() -> None:
    try:
        cli()
    except CommandFailed as failure:
        print_error(failure.sentence)
        sys.exit(failure.status)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
