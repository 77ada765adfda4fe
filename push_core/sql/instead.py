"""How a piece of work says that it tried the short way in vain: what it wrote is undone, and other work is done in its place.

So the usual case needs no savepoint of its own, which on a server is two round trips.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection


class Instead(Exception):
    """Raised by work given to `Database.write`."""

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        super().__init__()
        self.work = work
