"""`taco version`."""

from ops.commands.options import AsJson


def version(as_json: AsJson = False) -> None:
    """Print the versions of Taco, its device protocol and Python."""
    import platform

    from ops import __version__
    from ops.commands.output import print_json
    from sdk_proto.wire.frames import VERSION

    if as_json:
        print_json({"taco": __version__, "protocol": VERSION, "python": platform.python_version()})
    else:
        print(f"taco {__version__}, device protocol taco.v{VERSION}, Python {platform.python_version()}")
