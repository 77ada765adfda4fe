"""What the contract tests of the message store say short: messages, changes, and a store that remembers the hour."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from push_core.envelope import Envelope
from push_core.ids import make_id
from push_core.lifecycle import Reason, State
from push_core.messages.open import open_messages
from push_core.messages.port import Applied, Change, Commit, InboxAsk, InboxRow, Messages, MessageView, NewMessage
from tests.support.envelopes import sample

NOW = 1_790_000_000_000
HOUR = 3_600_000
APP = "courier"
OTHER = "customer"


class Shards:
    """Which shards messages get: the 7th, or, for stores made of several, one after the other."""

    spread = False


def message_id(n: int, at: int = NOW) -> int:
    if Shards.spread:
        return make_id(at + n // 128, n % 128, 3, 0)
    return make_id(at + n // 128, 7, 3, n % 128)


def envelope(n: int, *devices: str, app: str = APP, at: int = NOW, **fields: Any) -> Envelope:
    """The n-th message: a higher n has a higher id."""
    return sample(message_id(n, at), *devices, app=app, sent=at, **{"push": f'{{"id":"{n}"}}'.encode(), **fields})


def new(n: int, *devices: str, key: str | None = None, digest: bytes = b"meaning", **fields: Any) -> NewMessage:
    return NewMessage(envelope=envelope(n, *devices, **fields), idempotency_key=key, digest=digest)


def row(of: Envelope, *, again: bool = False, via_vendor: bool = False) -> InboxRow:
    return InboxRow(
        id=of.id,
        priority=of.priority.order,
        expires=of.expires,
        push=of.push,
        ack_timeout_ms=of.ack_timeout_ms,
        again=again,
        via_vendor=via_vendor,
    )


def waits(of: Envelope, device: str, *, again: bool = False, via_vendor: bool = False, **fields: Any) -> Change:
    change = Change(
        id=of.id,
        app=of.app,
        device=device,
        to=State.WAITING,
        at=NOW + 10,
        reason=Reason.OFFLINE,
        inbox=row(of, again=again, via_vendor=via_vendor),
        collapse=of.collapse,
    )
    return msgspec.structs.replace(change, **fields)


def moves(of: Envelope, device: str, to: State, **fields: Any) -> Change:
    return msgspec.structs.replace(Change(id=of.id, app=of.app, device=device, to=to, at=NOW + 20), **fields)


class MessagesContract:
    """A store to test, and questions that the tests ask all the time."""

    @pytest.fixture
    async def store(self, dsn: str) -> AsyncIterator[Messages]:
        store = await open_messages(dsn)
        yield store
        await store.close()

    async def accept(self, store: Messages, *messages: NewMessage) -> list[Envelope]:
        answers = await store.commit(messages, now=NOW)
        assert [answer.outcome for answer in answers] == [Commit.DONE] * len(messages)
        return [item.envelope for item in messages]

    async def apply(self, store: Messages, *changes: Change) -> list[Applied]:
        return (await store.apply(changes, now=NOW + 30)).applied

    async def view(self, store: Messages, of: Envelope, **page: Any) -> MessageView:
        (view,) = await store.get([(of.app, of.id)], **page)
        assert view is not None
        return view

    async def state(self, store: Messages, of: Envelope, device: str) -> State:
        (standing,) = await store.standings([(of.id, of.app, device)])
        assert standing is not None
        return standing.state

    async def inbox_ids(self, store: Messages, device: str, *, app: str = APP, now: int = NOW) -> list[int]:
        (page,) = await store.inbox([InboxAsk(app, device, 2_000)], now=now)
        return [item.id for item in page.rows]
