"""Values as they are written in MySQL's SQL, many at a time: what the driver does value by value, for a third of its price.

Safe because the session is ours: utf8mb4 (no byte of a character is a quote or a backslash) and an sql_mode without
NO_BACKSLASH_ESCAPES (`engine.py` sets it).
"""

from collections.abc import Sequence
from typing import Any


def literal(value: Any) -> str:
    """Raises TypeError for a type that no column has."""
    if value is None:
        return "NULL"
    if isinstance(value, str):  # an enum's value too
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, bytes):
        return "X'" + value.hex() + "'"
    raise TypeError(f"no column holds {type(value).__name__}")


def rows_of(rows: Sequence[Sequence[Any]], row: str = "") -> str:
    """`(…),(…)`; each preceded by `row`, which MySQL's VALUES wants to be ROW."""
    one = row + "(" + ",".join(["%s"] * len(rows[0])) + ")"
    # The two usual types by hand: a call for each value would be most of the cost.
    values = [
        value
        if (kind := type(value)) is int
        else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        if kind is str
        else literal(value)
        for values in rows
        for value in values
    ]
    return ",".join([one] * len(rows)) % tuple(values)
