"""The settings that all programs of a cluster share, as one file that they read: no DSN, and so no password, is in a command line or an
environment, which others of the machine can see."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.demo_file import write_private
from ops.settings import SECTIONS
from push_core.errors import ConfigError
from push_core.settings import check_sections, read_file

Tables = Mapping[str, Mapping[str, Any]]

_HEAD = "# Made by `taco cluster` at each start; give settings of your own with --config.\n"


def merged(own: Tables, config: Path | None) -> dict[str, dict[str, Any]]:
    """`own`, and over it what the user's file says, key by key. Raises ConfigError for a file that can't be read."""
    tables = {name: dict(table) for name, table in own.items()}
    if config is None:
        return tables
    theirs = read_file(config)
    check_sections(theirs, SECTIONS, str(config))
    for name, table in theirs.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{config}: [{name}] must be a table")
        tables.setdefault(name, {}).update(table)
    return tables


def write(path: Path, tables: Tables) -> None:
    """Readable by its owner only. Raises ConfigError if it can't be written."""
    sections = []
    for name, table in tables.items():
        lines = [f"{json.dumps(key)} = {_value(value)}" for key, value in table.items()]
        sections.append("\n".join([f"[{name}]", *lines]))
    write_private(path, _HEAD + "\n\n".join(sections) + "\n")


def _value(value: Any) -> str:
    """TOML of what a setting can be; its text is written as JSON's, whose escapes TOML knows."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(key)} = {_value(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    raise ConfigError(f"a setting can't be {value!r}")
