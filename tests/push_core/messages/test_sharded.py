"""Several stores as one, while one of them is away: the others go on, and what was not done is said item by item."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ops.cluster.servers import MariaServer
from push_core.errors import DeadlineExceeded, TacoError, Unavailable
from push_core.lifecycle import State
from push_core.messages.open import open_messages
from push_core.messages.port import Applied, Commit, InboxAsk, Messages, NewMessage, Partly
from push_core.messages.sharded import ShardedMessages, Store
from push_core.messages.sql import SqlMessages
from push_core.sql.upgrade import upgrade_store
from tests.contracts.messages_support import APP, NOW, Shards, envelope, moves, new, waits
from tests.support.maria import Tables
from tests.support.servers import require_server

DOWN = Unavailable("the store b is away")
UNKNOWN = DeadlineExceeded("the store b does not answer")

# Messages with even numbers are in the first store, the others in b.


class Away:
    """A store whose every call fails while `error` is set."""

    def __init__(self, store: Messages) -> None:
        self._store = store
        self.error: TacoError | None = None

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **named: Any) -> Any:
            if self.error is not None and name != "close":
                raise self.error
            return await getattr(self._store, name)(*arguments, **named)

        return call


@pytest.fixture
def b() -> Away:
    return Away(None)  # type: ignore[arg-type]


@pytest.fixture
async def store(b: Away, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ShardedMessages]:
    monkeypatch.setattr(Shards, "spread", True)
    first, b._store = [await SqlMessages.open("sqlite://") for _ in "ab"]
    even = frozenset(range(0, 256, 2))
    store = await ShardedMessages.open([Store(first, even), Store(b, frozenset(range(256)) - even)])
    yield store
    await store.close()


async def commit(store: Messages, *messages: NewMessage) -> list[Commit]:
    return [answer.outcome for answer in await store.commit(messages, now=NOW)]


async def test_a_message_without_a_key_is_to_go_to_another_store(store: ShardedMessages, b: Away) -> None:
    b.error = DOWN
    assert await commit(store, new(0, "d"), new(1, "d")) == [Commit.DONE, Commit.COLLISION]
    assert await commit(store, new(3, "d")) == [Commit.COLLISION], "also when it is alone"


async def test_a_message_with_a_key_has_one_home_only(store: ShardedMessages, b: Away) -> None:
    b.error = DOWN
    with pytest.raises(Partly) as partly:
        await store.commit([new(0, "d", key="k"), new(1, "d", key="l")], now=NOW)
    done, failed = partly.value.results
    assert (done.outcome, failed) == (Commit.DONE, DOWN)


async def test_a_commit_without_an_answer_is_not_made_elsewhere(store: ShardedMessages, b: Away) -> None:
    b.error = UNKNOWN
    with pytest.raises(Partly) as partly:
        await store.commit([new(0, "d"), new(1, "d")], now=NOW)
    assert partly.value.results[1] is UNKNOWN
    with pytest.raises(DeadlineExceeded):
        await store.commit([new(3, "d")], now=NOW)


async def test_when_all_are_away_that_is_said(b: Away) -> None:
    b.error = DOWN
    store = ShardedMessages([Store(b, frozenset(range(256)))])
    for _ in range(2):
        with pytest.raises(Unavailable, match="the store b is away"):
            await store.commit([new(0, "d")], now=NOW)


async def test_acks_of_the_others_are_stored(store: ShardedMessages, b: Away) -> None:
    sent = [new(n, "d") for n in range(4)]
    await commit(store, *sent)
    b.error = DOWN
    acks = [moves(item.envelope, "d", State.DELIVERED) for item in sent]
    with pytest.raises(Partly) as partly:
        await store.apply(acks, now=NOW)
    assert partly.value.results == [Applied.MADE, DOWN, Applied.MADE, DOWN]
    b.error = None
    assert (await store.apply(acks, now=NOW)).applied == [Applied.REPEAT, Applied.MADE] * 2


async def test_inboxes_of_the_others_are_read_and_the_page_says_that_there_may_be_more(
    store: ShardedMessages, b: Away
) -> None:
    sent = [new(n, "d") for n in range(5)]
    await commit(store, *sent)
    await store.apply([waits(item.envelope, "d") for item in sent], now=NOW)
    ask = [InboxAsk(APP, "d", 3)]
    (page,) = await store.inbox(ask, now=NOW)
    assert ([row.id for row in page.rows], page.waiting, page.partial) == ([envelope(n).id for n in range(3)], 5, False)
    b.error = DOWN
    (page,) = await store.inbox(ask, now=NOW)
    assert ([row.id for row in page.rows], page.waiting, page.partial) == (
        [envelope(n).id for n in (0, 2, 4)],
        3,
        True,
    )
    with pytest.raises(Unavailable):
        await store.waiting([(APP, "d")])


CALLS: list[tuple[Callable[[Messages], Awaitable[Any]], object]] = [
    (lambda store: store.expire(now=NOW), []),
    (lambda store: store.take_later(now=NOW, hold_ms=1), []),
    (lambda store: store.prune(1), 0),
]


@pytest.mark.parametrize(("call", "nothing"), CALLS)
async def test_what_goes_over_all_stores_goes_over_those_that_answer(
    store: ShardedMessages, b: Away, call: Callable[[Messages], Awaitable[Any]], nothing: object
) -> None:
    b.error = DOWN
    assert await call(store) == nothing


async def test_a_place_is_kept_in_each_store(store: ShardedMessages, b: Away) -> None:
    """So that the relay passes over nothing of a store that was away while it read the others."""
    first, second = store.stores()
    await first.move_cursor("relay", 9)
    assert [await one.cursor("relay") for one in store.stores()] == [9, 0]
    await commit(store, new(0, "d"), new(1, "d"))
    everything = (0, envelope(9).id)
    assert [row[0] for row in await first.open_between(*everything)] == [envelope(0).id]
    assert [row[0] for row in await second.open_between(*everything)] == [envelope(1).id]
    b.error = DOWN
    with pytest.raises(Unavailable):
        await store.open_between(*everything)


async def test_a_store_that_is_away_is_named_by_the_ping(store: ShardedMessages, b: Away) -> None:
    await store.ping()
    b.error = DOWN
    with pytest.raises(Unavailable, match="store b"):
        await store.ping()


async def test_a_fault_of_ours_is_no_outage(store: ShardedMessages, b: Away) -> None:
    b.error = KeyError("x")  # type: ignore[assignment]
    with pytest.raises(KeyError):
        await store.ping()


def both(first: str, second: str) -> str:
    joined = "&" if "?" in first else "?"
    return f"{first}{joined}shards=0-127 {second}{joined}shards=128-255"


async def test_a_server_that_is_down_at_the_start_is_used_when_it_is_there(
    maria_tables: Tables, tmp_path: Path
) -> None:
    require_server(MariaServer)
    late = MariaServer(tmp_path / "late")
    maria_tables.empty()
    try:
        await asyncio.to_thread(late.start)
        await asyncio.to_thread(upgrade_store, late.dsn, "messages")
        await asyncio.to_thread(late.stop)
        dsn = both(maria_tables.dsn, late.dsn + "?partition_days=0")
        store = await open_messages(dsn)
        with pytest.raises(Unavailable, match="Connection refused"):
            await store.ping()
        assert await store.cursor("x") == 0
        await asyncio.to_thread(late.start)
        await store.ping()
        await store.close()
    finally:
        await asyncio.to_thread(late.stop)


async def test_none_that_answers_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Connection refused"):
        await open_messages(both("mysql://u:p@127.0.0.1:1/a", "mysql://u:p@127.0.0.1:1/b"))
