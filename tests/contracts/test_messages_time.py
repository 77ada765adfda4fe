"""The contract of later work, the relay's readings, pruning and issuer leases."""

import asyncio

import msgspec
import pytest

from push_core.errors import Unavailable
from push_core.ids import ISSUERS, first_id_at
from push_core.lifecycle import Reason, State
from push_core.messages.port import IDEMPOTENCY_MS, Commit, Later, Messages, Task
from tests.contracts.messages_support import APP, HOUR, NOW, OTHER, MessagesContract, message_id, moves, new, waits
from tests.contracts.sql_stores import OnMaria, OnSqliteFile, OnSqliteMemory, OnTwoMarias, OnTwoSqliteFiles

REPUBLISH, FALLBACK, EXPIRE = Task.REPUBLISH, Task.FALLBACK, Task.EXPIRE


def work(n: int, due: int, task: Task = FALLBACK, *, device: str = "d", app: str = APP, **fields: int) -> Later:
    return Later(id=message_id(n), app=app, device=device, task=task, due=due, **fields)  # type: ignore[arg-type]


class LaterWork(MessagesContract):
    async def test_due_rows_are_given_out_oldest_first_and_held(self, store: Messages) -> None:
        await self.accept(store, *[new(n, "d") for n in range(4)])
        await store.put_later([work(1, NOW + 2), work(2, NOW + 1), work(3, NOW + 3), work(0, NOW + 9)])
        assert [r.id for r in await store.take_later(now=NOW + 3, hold_ms=100, limit=2)] == [
            message_id(2),
            message_id(1),
        ]
        (third,) = await store.take_later(now=NOW + 3, hold_ms=100)
        assert third == work(3, NOW + 103, tries=1)
        assert await store.take_later(now=NOW + 8, hold_ms=100) == []
        again = await store.take_later(now=NOW + 103, hold_ms=100)
        assert {(r.id, r.tries) for r in again} == {
            (message_id(0), 1),
            *((message_id(n), 2) for n in (1, 2, 3)),
        }

    async def test_two_takers_never_get_one_row_at_the_same_time(self, store: Messages) -> None:
        await self.accept(store, *[new(n, "d") for n in range(40)])
        await store.put_later([work(n, NOW) for n in range(40)])
        taken = await asyncio.gather(*[store.take_later(now=NOW, hold_ms=1_000, limit=7) for _ in range(8)])
        assert sorted(r.id for rows in taken for r in rows) == [message_id(n) for n in range(40)]

    async def test_there_is_one_row_for_each_delivery_and_task(self, store: Messages) -> None:
        await self.accept(store, new(1, "d", "e"))
        await store.put_later([work(1, NOW), work(1, NOW, EXPIRE), work(1, NOW, device="e"), work(1, NOW)])
        assert len(await store.take_later(now=NOW, hold_ms=0)) == 3

    async def test_putting_again_keeps_the_earlier_time_and_resets_nothing(self, store: Messages) -> None:
        await self.accept(store, new(1, "d"))
        await store.put_later([work(1, NOW)])
        await store.take_later(now=NOW, hold_ms=50)
        await store.put_later([work(1, NOW + 70)])
        assert await store.take_later(now=NOW + 49, hold_ms=50) == []
        await store.put_later([work(1, NOW + 20)])
        assert await store.take_later(now=NOW + 20, hold_ms=50) == [work(1, NOW + 70, tries=2)]

    async def test_replacing_sets_time_and_tries(self, store: Messages) -> None:
        await self.accept(store, new(1, "d"))
        await store.put_later([work(1, NOW)])
        await store.take_later(now=NOW, hold_ms=50)
        await store.put_later([msgspec.structs.replace(work(1, NOW + 90, tries=5), replace=True)])
        assert await store.take_later(now=NOW + 89, hold_ms=50) == []
        assert await store.take_later(now=NOW + 90, hold_ms=50) == [work(1, NOW + 140, tries=6)]

    async def test_dropped_rows_are_gone(self, store: Messages) -> None:
        await self.accept(store, new(1, "d", "e"))
        await store.put_later([work(1, NOW), work(1, NOW, EXPIRE)])
        await store.drop_later([work(1, 0), work(1, NOW, EXPIRE, app=OTHER), work(1, NOW, device="e")])
        assert [r.task for r in await store.take_later(now=NOW, hold_ms=0)] == [EXPIRE]

    async def test_nothing_is_put_for_what_has_ended_or_is_not_there(self, store: Messages) -> None:
        sent = await self.accept(store, new(1, "d"), new(2, "d"))
        await self.apply(store, moves(sent[0], "d", State.DELIVERED))
        await store.recall([(APP, sent[1].id)], now=NOW)
        await store.put_later([work(1, NOW), work(2, NOW, REPUBLISH, device=""), work(3, NOW), work(1, NOW, app=OTHER)])
        assert await store.take_later(now=NOW, hold_ms=0) == []
        await store.put_later([work(1, NOW, REPUBLISH, device="")])
        assert [r.device for r in await store.take_later(now=NOW, hold_ms=0)] == [""]


class Relay(MessagesContract):
    async def test_what_is_open_is_read_in_pages_by_id_and_device(self, store: Messages) -> None:
        sent = await self.accept(
            store, new(1, "a", "b", "c"), new(2, alias="user"), new(3, "a", app=OTHER), new(4, "a", "b"), new(5, "a")
        )
        await store.expand([(sent[1].id, APP, ["x", "y"])], now=NOW)
        await self.apply(store, waits(sent[0], "b"), moves(sent[3], "a", State.SENDING))
        await self.apply(store, moves(sent[3], "b", State.DELIVERED))
        everything = [
            (sent[0].id, APP, "a"),
            (sent[0].id, APP, "c"),
            (sent[1].id, APP, ""),
            (sent[1].id, APP, "x"),
            (sent[1].id, APP, "y"),
            (sent[2].id, OTHER, "a"),
            (sent[3].id, APP, "a"),
        ]
        assert await store.open_between(sent[0].id, sent[3].id) == everything
        for size in (1, 2, 3, 7):
            read: list[tuple[int, str, str]] = []
            while page := await store.open_between(
                sent[0].id, sent[3].id, after=(read[-1][0], read[-1][2]) if read else (0, ""), limit=size
            ):
                read += page
            assert read == everything, size
        assert await store.open_between(sent[2].id, sent[2].id) == [(sent[2].id, OTHER, "a")]
        await store.expanded([(sent[1].id, APP, None)], now=NOW)
        assert (sent[1].id, APP, "") not in await store.open_between(0, sent[4].id)

    async def test_a_cursor_starts_at_nothing_and_moves_forward_only(self, store: Messages) -> None:
        assert await store.cursor("relay") == 0
        await store.move_cursor("relay", 9)
        await store.move_cursor("relay", 7)
        await store.move_cursor("other", 3)
        assert (await store.cursor("relay"), await store.cursor("other")) == (9, 3)

    async def test_pruning_removes_what_ended_before_and_nothing_else(self, store: Messages) -> None:
        done, opened, alias, failed, after = await self.accept(
            store, new(1, "a", "b"), new(2, "a", "b"), new(3, alias="u"), new(4, "a"), new(200, "a")
        )
        await self.apply(store, *[moves(done, device, State.DELIVERED) for device in ("a", "b")])
        await self.apply(store, moves(opened, "a", State.DELIVERED), waits(opened, "b"))
        await self.apply(store, moves(failed, "a", State.EXPIRED, reason=Reason.TTL), moves(after, "a", State.CLICKED))
        assert await store.prune(after.id, limit=1) == 1
        assert await store.prune(after.id) == 1
        assert await store.prune(after.id) == 0
        left = await store.envelopes([e.id for e in (done, opened, alias, failed, after)])
        assert left == [None, opened, alias, None, after]
        assert await store.standings([(done.id, APP, "a"), (opened.id, APP, "a")]) != [None, None]
        assert await store.standings([(done.id, APP, "a"), (done.id, APP, "b")]) == [None, None]
        assert await self.inbox_ids(store, "b") == [opened.id]

    async def test_pruning_keeps_keys_of_the_last_day(self, store: Messages) -> None:
        await self.accept(store, new(1, "d", key="k"))
        await store.prune(first_id_at(NOW + IDEMPOTENCY_MS - 1))
        (answer,) = await store.commit([new(2, "d", key="k")], now=NOW + 10)
        assert answer.outcome is Commit.REPLAY
        await store.prune(first_id_at(NOW + IDEMPOTENCY_MS))
        (answer,) = await store.commit([new(2, "d", key="k")], now=NOW + 10)
        assert answer.outcome is Commit.DONE


class IssuerLeases(MessagesContract):
    async def test_no_number_is_held_by_two_and_the_last_is_refused(self, store: Messages) -> None:
        leases = await asyncio.gather(*[store.lease_issuer(f"api-{n}", now=NOW, ttl_ms=15_000) for n in range(ISSUERS)])
        assert sorted(lease.issuer for lease in leases) == list(range(ISSUERS))
        assert {lease.high_water_ms for lease in leases} == {0}
        with pytest.raises(Unavailable, match="issuer"):
            await store.lease_issuer("one-more", now=NOW + 14_999, ttl_ms=15_000)
        await store.release_issuer(leases[5], high_water_ms=NOW + 42)
        taken = await store.lease_issuer("one-more", now=NOW, ttl_ms=15_000)
        assert (taken.issuer, taken.high_water_ms) == (leases[5].issuer, NOW + 42)

    async def test_a_lease_that_ran_out_is_taken_with_a_mark_no_earlier_id_is_above(self, store: Messages) -> None:
        for n in range(ISSUERS):
            await store.lease_issuer(f"api-{n}", now=NOW, ttl_ms=15_000)
        taken = await store.lease_issuer("next", now=NOW + 15_000, ttl_ms=15_000)
        assert taken.high_water_ms == NOW + 15_000, "its holder may have made ids until then"
        assert taken.until == NOW + 30_000

    async def test_a_lease_is_renewed_until_another_took_it(self, store: Messages) -> None:
        first = await store.lease_issuer("a", now=NOW, ttl_ms=15_000)
        renewed = await store.renew_issuer(first, high_water_ms=NOW + 5_000, now=NOW + 5_000, ttl_ms=15_000)
        assert renewed is not None
        assert (renewed.issuer, renewed.until, renewed.high_water_ms) == (first.issuer, NOW + 20_000, NOW + 5_000)
        late = await store.renew_issuer(renewed, high_water_ms=NOW, now=NOW + 60_000, ttl_ms=15_000)
        assert late is not None, "run out, but nobody took it"
        assert late.high_water_ms == NOW + 5_000, "a mark never falls"
        for n in range(ISSUERS):
            await store.lease_issuer(f"b-{n}", now=NOW + 80_000, ttl_ms=15_000)
        assert await store.renew_issuer(late, high_water_ms=NOW, now=NOW + 80_000, ttl_ms=15_000) is None

    async def test_a_released_lease_is_no_longer_its_holders(self, store: Messages) -> None:
        lease = await store.lease_issuer("a", now=NOW, ttl_ms=15_000)
        await store.release_issuer(lease, high_water_ms=NOW)
        assert await store.renew_issuer(lease, high_water_ms=NOW, now=NOW, ttl_ms=15_000) is None
        taken = await store.lease_issuer("b", now=NOW, ttl_ms=HOUR)
        await store.release_issuer(lease, high_water_ms=NOW + 9)
        assert await store.renew_issuer(taken, high_water_ms=NOW, now=NOW, ttl_ms=HOUR) is not None

    async def test_a_store_answers_a_ping_until_it_is_closed(self, store: Messages) -> None:
        await store.ping()
        await store.close()
        with pytest.raises(Unavailable, match="closed"):
            await store.ping()


class TestLaterWorkOnSqliteFile(OnSqliteFile, LaterWork): ...


class TestLaterWorkOnSqliteMemory(OnSqliteMemory, LaterWork): ...


class TestLaterWorkOnMaria(OnMaria, LaterWork): ...


class TestLaterWorkOnTwoSqliteFiles(OnTwoSqliteFiles, LaterWork): ...


class TestLaterWorkOnTwoMarias(OnTwoMarias, LaterWork): ...


class TestRelayOnSqliteFile(OnSqliteFile, Relay): ...


class TestRelayOnSqliteMemory(OnSqliteMemory, Relay): ...


class TestRelayOnMaria(OnMaria, Relay): ...


class TestRelayOnTwoSqliteFiles(OnTwoSqliteFiles, Relay): ...


class TestRelayOnTwoMarias(OnTwoMarias, Relay): ...


class TestIssuerLeasesOnSqliteFile(OnSqliteFile, IssuerLeases): ...


class TestIssuerLeasesOnSqliteMemory(OnSqliteMemory, IssuerLeases): ...


class TestIssuerLeasesOnMaria(OnMaria, IssuerLeases): ...


class TestIssuerLeasesOnTwoSqliteFiles(OnTwoSqliteFiles, IssuerLeases): ...


class TestIssuerLeasesOnTwoMarias(OnTwoMarias, IssuerLeases): ...
