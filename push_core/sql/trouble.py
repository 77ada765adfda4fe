"""What a failed statement means for the transaction it was part of: the decision that its thread must make."""

import enum
from typing import NamedTuple


class Trouble(enum.Enum):
    FAULT = "fault"  # the statement is at fault, or the data: a fault of ours, so far as we know
    REFUSED = "refused"  # the store can't do it now (locked, full, read only): asking again at once is of no use
    HELD = "held"  # a lock was not free in time: others need not wait for it
    DENIED = "denied"  # the server refuses user, password or database
    AGAIN = "again"  # the store undid the transaction so that another could go on: run it again
    LOST = "lost"  # the connection ended; what was not committed is undone
    SILENT = "silent"  # no answer, or none that says what became of it; what was not committed is undone


class Verdict(NamedTuple):
    """`sentence` goes on after the store's name: "the store … is locked by another process"."""

    trouble: Trouble
    sentence: str
    reconnect: bool = False  # the connection is of no use any more
