"""The port of the message store, batch-first: every method takes and gives lists in the same order.

What holds for every adapter:

- A method is one transaction: after a crash either all of a call is there or nothing. When it returned, it is durable
  (MySQL `innodb_flush_log_at_trx_commit=1`, SQLite `synchronous=FULL`).
- Any method may raise `Unavailable` (nothing happened) or `DeadlineExceeded` (unknown whether it did). Every write is
  idempotent, so that both may be repeated.
- A delivery moves by `push_core.lifecycle.may_move` only; a change that may not be made is skipped, and the answer says so.
- All state is by (app, device). A row of another app is treated as if it were not there.
- `now` is wall time in Unix milliseconds, given by the caller.
"""

import enum
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from push_core.clock import WallMs
from push_core.envelope import Envelope
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.lifecycle import Reason, State
from push_core.models import DeviceKey

INBOX_LIMIT = 1_000
IDEMPOTENCY_MS = 24 * 3_600_000


class NewMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A validated message with its id, as the API commits it. `digest` is a hash of the request's meaning: the same key
    with another digest is a conflict."""

    envelope: Envelope
    idempotency_key: str | None = None
    digest: bytes = b""


class Commit(enum.Enum):
    DONE = "done"
    REPLAY = "replay"  # the key's first message answers: `id` is that one's; nothing was written
    CONFLICT = "conflict"  # the key was used for another message; nothing was written
    COLLISION = "collision"  # the id is taken: make a new one; nothing was written


class Committed(msgspec.Struct, frozen=True, gc=False):
    outcome: Commit
    id: int


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device's delivery as callers see it; `at` maps a state's name to the Unix ms it was entered, plus `late_at`."""

    device: str
    channel: str = ""  # "long", a vendor's name, or "" while no road was taken
    state: State
    reason: str = ""
    at: dict[str, int] = msgspec.field(default_factory=dict)


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """`counts` covers all deliveries, `deliveries` one page in order of the device's name; `next` is the last name of a
    full page, to ask for the following one. A message whose alias had no device has no deliveries and its own state; a live broadcast has
    none either, and its counts are what gateways counted."""

    id: int
    state: State
    reason: str
    counts: dict[str, int]
    recalled_at: int | None
    deliveries: list[DeliveryView]
    next: str | None = None


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where one delivery is: what a repeat is checked against, and what a policy decides by."""

    state: State
    recalled: bool = False
    in_inbox: bool = False
    vendor: str = ""  # the vendor channel that accepted it, if one did


class InboxRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message that waits for a device. `recall` rows ask the device to take a delivered message back; they have no push."""

    id: int
    priority: int  # Priority.order
    expires: int
    push: bytes
    ack_timeout_ms: int
    again: bool
    via_vendor: bool
    recall: bool = False


class InboxAsk(msgspec.Struct, frozen=True, gc=False):
    """Rows of one device in order (priority, id), after the given position; `after=None` starts at the first."""

    app: str
    device: str
    limit: int
    after: tuple[int, int] | None = None  # (priority order, id)


class InboxPage(msgspec.Struct, frozen=True):
    """`waiting` counts all rows of the device, whatever `after` and `limit` were. `partial`: a store that is away may have more, which
    may sort before these; ask again from the first."""

    rows: list[InboxRow]
    waiting: int
    partial: bool = False


class Task(enum.StrEnum):
    """Kinds of later work."""

    REPUBLISH = "republish"  # relay: publish the message again, marked as a repeat (device "" = the whole message)
    FALLBACK = "fallback"  # the ACK deadline of a delivery that waits: ask a vendor if it is still open
    EXPIRE = "expire"  # end a delivery that has no inbox row at its deadline


class Later(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row with a time (nothing waits in the broker). One row for each (id, device, task); putting it again
    keeps the earlier `due` and resets nothing, unless `replace` is set."""

    id: int
    app: str
    device: str  # "" for a task about the whole message
    task: Task
    due: WallMs
    tries: int = 0
    replace: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One wished move of one delivery, with everything that must happen in the same transaction if, and only if, the
    move is made.

    `inbox` stores the delivery in the device's inbox (collapsing, bounded: what is displaced ends `replaced` or
    `inbox_full`); a row that is there already is kept, with `again`/`via_vendor` raised if either says so. A move to a rank
    above 0 or to an end removes its inbox row and its later work, even if it is a repeat; `stored=False` says that there is none (hot path),
    and if that was wrong the next ack removes it.
    A move to the state it is in already is "made" when it carries `inbox` or `later` (they are applied, and its `reason` if it
    has one), so that a repeat after a crash completes what is missing.
    """

    id: int
    app: str
    device: str
    to: State
    at: WallMs
    reason: Reason | None = None
    channel: str = ""  # set when a road was taken
    written_at: WallMs | None = None  # when a gateway wrote it: fills `at.sending`
    inbox: InboxRow | None = None
    collapse: str | None = None  # with `inbox`
    later: Later | None = None
    stored: bool = True


class Applied(enum.Enum):
    """What became of a Change."""

    MADE = "made"
    REPEAT = "repeat"  # already there, or already further: nothing to do
    LATE = "late"  # it had ended; `late_at` is set for a device's ack
    FOREIGN = "foreign"  # no such delivery for this (app, device)


class NodeCount(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one life of a gateway has counted of a live broadcast, in sessions: as `rpc.port.Tally` has it."""

    id: int
    app: str
    node: str
    written: int
    full: int
    acked: int
    refused: int


class Ended(msgspec.Struct, frozen=True, gc=False):
    """A delivery that ended as a side effect (displaced, swept, recalled): for trail and counters."""

    id: int
    app: str
    device: str
    state: State
    reason: str


class Outcome(msgspec.Struct, frozen=True):
    """`applied` in the order of the changes; `ended` whatever else came to its end by them."""

    applied: list[Applied]
    ended: list[Ended]


class Recalled(msgspec.Struct, frozen=True):
    """`notify` are the devices that may have the message and must be told: a `recall` row waits in their inbox already. `displaced`
    are deliveries of other messages that ended because a recall row needed their place in a full inbox (first answer only)."""

    id: int
    notify: list[str]
    stopped: list[str]
    displaced: list[Ended] = []


class IssuerLease(msgspec.Struct, frozen=True):
    """An issuer number held until `until`; ids at or below `high_water_ms` may be an earlier holder's."""

    issuer: int
    holder: str
    high_water_ms: WallMs
    until: WallMs


class TooLate(Unavailable):
    """The ids of a commit were too old when their turn came; nothing was written."""


class Partly(DeadlineExceeded):
    """A store made of several (`sharded.py`) did what was asked where it could. `results` has one entry for each item of the call, in order:
    what its method answers for it, or the error of its store. Who takes no notice of this class takes it for "unknown", which is true of the whole.
    """

    def __init__(self, message: str, results: Sequence[Any]) -> None:
        super().__init__(message)
        self.results = results
        self.ended: Sequence[Ended] = ()  # of `apply`


class Messages(Protocol):
    def stores(self) -> "Sequence[Messages]":
        """The stores that this one is made of, in a fixed order, each with cursors of its own: itself alone for a store that is one.
        A reader that keeps a place reads each by itself, so that one that is away holds up nobody and is not passed over."""
        ...

    def store_of(self, message_id: int) -> int:
        """The place among `stores` of the one that this message is in."""
        ...

    # ── acceptance ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def commit(self, batch: Sequence[NewMessage], *, now: WallMs, oldest_ms: int = 5_000) -> list[Committed]:
        """Write messages, a delivery (`accepted`) for each named device, and idempotency keys, in one transaction.

        Keys count within (app, key) for 24 h; two of one key in one batch: the first is done, the others replay or
        conflict. One bad item fails nobody else. Raises TooLate, with nothing written, when an id is older than `oldest_ms`
        at the moment of committing (the relay's reading of a second of ids must not be overtaken).
        """
        ...

    async def get(
        self, asks: Sequence[tuple[str, int]], *, after: str | None = None, limit: int = 100
    ) -> list[MessageView | None]:
        """Views of (app, id); None where the app has no such message. `after` pages deliveries by device name."""
        ...

    async def recall(self, asks: Sequence[tuple[str, int]], *, now: WallMs) -> list[Recalled | None]:
        """Set `recalled_at` (once; a repeat answers the same) and end every delivery of rank 0 as `recalled`, with its inbox row and
        later work removed. Every device that may have it gets a `recall` row in its inbox and is named in `notify`: all but those
        whose delivery is `waiting` and was never tried (`again` and `via_vendor` false), or had ended before. None where the app has no
        such message. A message not yet expanded will expand to nothing."""
        ...

    # ── what a dispatcher asks and tells ─────────────────────────────────────────────────────────────────────────────

    async def envelopes(self, ids: Sequence[int]) -> list[Envelope | None]:
        """The envelopes as committed."""
        ...

    async def standings(self, keys: Sequence[tuple[int, str, str]]) -> list[Standing | None]:
        """Where deliveries (id, app, device) are; None for one that does not exist."""
        ...

    async def recalled(self, ids: Sequence[int]) -> set[int]:
        """Those of the ids whose message is recalled."""
        ...

    async def expand(self, pages: Sequence[tuple[int, str, Sequence[str]]], *, now: WallMs) -> None:
        """Commit the deliveries of a page of an expanded target: (id, app, devices). Repeating a page adds nothing."""
        ...

    async def expanded(self, ends: Sequence[tuple[int, str, Reason | None]], *, now: WallMs) -> None:
        """Mark the expansion of (id, app) as complete; with a reason when it found nobody: the message itself ends
        `undeliverable`."""
        ...

    async def count(self, counts: Sequence[NodeCount]) -> None:
        """Keep what nodes counted of live broadcasts; of all that a node said the highest of each number. Views add them up: `delivered`
        what was acked, `undeliverable` what was refused, `expired` what found no place; what is written and unacked is `sending` until the
        message has ended (`expanded`), and `expired` then."""
        ...

    async def apply(self, changes: Sequence[Change], *, now: WallMs) -> Outcome:
        """Make the changes, in order. The one way in which a delivery's state moves, receipts included."""
        ...

    # ── inbox ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def inbox(self, asks: Sequence[InboxAsk], *, now: WallMs) -> list[InboxPage]:
        """What waits for devices; expired rows are left out. Reading removes nothing: an ack does."""
        ...

    async def waiting(self, devices: Sequence[DeviceKey]) -> list[int]:
        """How many rows wait for each device."""
        ...

    async def recalls_shown(self, rows: Sequence[tuple[str, str, int]]) -> None:
        """The device has been told of the recall: remove the `recall` rows (app, device, id)."""
        ...

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def expire(self, *, now: WallMs, limit: int = 1_000) -> list[Ended]:
        """End what waits past its time: inbox rows whose `expires` has passed (`vendor` ones as `unconfirmed`, others as `ttl`).
        Expired recall rows are removed. Fewer than `limit` results: nothing is left for now."""
        ...

    async def put_later(self, rows: Sequence[Later]) -> None: ...

    async def take_later(self, *, now: WallMs, hold_ms: int, limit: int = 500) -> list[Later]:
        """Rows that are due, oldest first, each moved `hold_ms` ahead and its `tries` raised before it is given out: a taker that dies loses
        nothing, and two takers never get one row at the same time. Done rows are removed with `drop_later`."""
        ...

    async def drop_later(self, rows: Sequence[Later]) -> None: ...

    async def open_between(
        self, first_id: int, last_id: int, *, after: tuple[int, str] = (0, ""), limit: int = 1_000
    ) -> list[tuple[int, str, str]]:
        """Deliveries in state `accepted` or `sending`, and messages not yet expanded (device ""), with first_id ≤ id ≤ last_id, in order of
        (id, device), after the given position: what the relay looks at. Each as (id, app, device)."""
        ...

    async def cursor(self, name: str) -> int:
        """A reader's place, 0 at first."""
        ...

    async def move_cursor(self, name: str, to: int) -> None:
        """Move it forward; a lower value changes nothing."""
        ...

    async def prune(self, before_id: int, *, limit: int = 1_000) -> int:
        """Remove ended messages with ids below `before_id`, their deliveries and keys older than a day; how many went, of messages or
        of keys: `limit` means that there may be more. A store that drops whole days keeps a day's until all of it is below `before_id`, and does not
        count them. Called by several programs, again and again."""
        ...

    # ── issuer leases ────────────────────────────────────────────────────────────────────────────────────────────────

    async def lease_issuer(self, holder: str, *, now: WallMs, ttl_ms: int) -> IssuerLease:
        """A free issuer number (never held, given back, or run out). Raises Unavailable when all 128 are held."""
        ...

    async def renew_issuer(
        self, lease: IssuerLease, *, high_water_ms: WallMs, now: WallMs, ttl_ms: int
    ) -> IssuerLease | None:
        """The lease, longer; None if it has run out and been taken by another, or is no longer this holder's: stop issuing at once."""
        ...

    async def release_issuer(self, lease: IssuerLease, *, high_water_ms: WallMs) -> None: ...

    async def ping(self) -> None:
        """Raises Unavailable when the store can't be asked now."""
        ...

    async def close(self) -> None: ...
