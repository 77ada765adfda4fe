"""Which settings and stores a command works on when nobody names them: those of the cluster in DATA, else those of `taco up` there."""

from pathlib import Path

from ops.commands.output import Exit, fail

CLUSTER = "cluster.toml"


def settings_file(data: Path, config: Path | None) -> Path | None:
    """The file that is named, or that of the cluster in `data`. None: `load_all` looks for taco.toml."""
    if config is None and (data / CLUSTER).is_file():
        return data / CLUSTER
    return config


def devices_dsn(data: Path) -> str:
    """Of the device store, which holds apps and control. Fails with a sentence."""
    if (data / CLUSTER).is_file():
        from push_core.errors import ConfigError
        from push_core.settings import read_file

        try:
            if dsn := read_file(data / CLUSTER).get("stores", {}).get("devices"):
                return str(dsn)
        except ConfigError as error:
            fail(str(error), Exit.USAGE)
    if not data.is_dir():
        fail(f"there is no folder {data}; `taco up` makes it, or name the store with --devices", Exit.USAGE)
    return f"sqlite:///{data / 'devices.sqlite'}"
