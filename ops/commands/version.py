"""`taco version`."""

from ops.commands.options import AsJson


def version(as_json: AsJson = False) -> None:
    """Print the versions of Taco, and those of all that it shares with other releases and with devices."""
    import platform

    from ops.commands.output import print_json
    from ops.versions import this_release

    release, python = this_release(), platform.python_version()
    if as_json:
        print_json({**release.to_dict(), "python": python})
        return
    tables = ", ".join(f"{schema} {step}" for schema, step in release.schemas.items())
    print(
        f"taco {release.taco}, device protocol taco.v{release.protocol}, internal RPC {release.rpc.version} (oldest {release.rpc.oldest}), "
        f"tables {tables}, Python {python}"
    )
