"""How commands talk: results on stdout (for people, or JSON for machines), trouble as one sentence on stderr with an exit status."""

import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn


class Exit(enum.IntEnum):
    FAILED = 1  # asked correctly; it did not work
    USAGE = 2  # bad options or configuration


class CommandFailed(Exception):
    """Ends a command with a sentence for its user. Caught in `ops.cli.main` only."""

    def __init__(self, sentence: str, status: Exit = Exit.FAILED) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


def fail(sentence: str, status: Exit = Exit.FAILED) -> NoReturn:
    raise CommandFailed(sentence, status)


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), flush=True)


def print_error(sentence: str) -> None:
    print(f"taco: {sentence}", file=sys.stderr, flush=True)


def print_pairs(pairs: Mapping[str, Any]) -> None:
    """Names and values, one a line; what is empty is left out."""
    from rich.console import Console
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        if value not in (None, "", [], {}):
            grid.add_row(f"[bold]{name}[/]", _text(value))
    Console(highlight=False).print(grid)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    from rich.console import Console
    from rich.table import Column, Table

    # A name or an address that is too long goes on in the next line: cut off it would be of no use.
    table = Table(
        *(Column(name, overflow="fold") for name in columns),
        title=title or None,
        title_justify="left",
        box=None,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    Console(highlight=False).print(table)


def when(unix_ms: int | None) -> str:
    """A time for people, in their zone; nothing for none."""
    from datetime import UTC, datetime

    if not unix_ms:
        return ""
    return datetime.fromtimestamp(unix_ms / 1000, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _text(value: Any) -> str:
    """Escaped: what devices and callers wrote must not be read as markup."""
    from rich.markup import escape

    if isinstance(value, str):
        return escape(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return escape(", ".join(map(str, value)))
    if isinstance(value, dict):
        return escape("  ".join(f"{key}={item}" for key, item in value.items()))
    return escape(str(value))
