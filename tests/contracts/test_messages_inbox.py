"""The contract of the inbox: order, pages, collapse, the bound, and the end of what waited too long."""

from push_core.lifecycle import Reason, State
from push_core.messages.port import INBOX_LIMIT, Applied, Ended, InboxAsk, Later, Messages, Task
from push_core.models import Priority
from tests.contracts.messages_support import APP, HOUR, NOW, OTHER, MessagesContract, moves, new, row, waits
from tests.contracts.sql_stores import OnMaria, OnSqliteFile, OnSqliteMemory, OnTwoMarias, OnTwoSqliteFiles


class Inbox(MessagesContract):
    async def test_rows_come_by_priority_and_then_by_id(self, store: Messages) -> None:
        low, urgent, normal, urgent_2 = await self.accept(
            store,
            new(1, "d", priority=Priority.LOW),
            new(2, "d", priority=Priority.URGENT),
            new(3, "d"),
            new(4, "d", priority=Priority.URGENT),
        )
        await self.apply(store, *[waits(e, "d") for e in (urgent_2, normal, low, urgent)])
        (page,) = await store.inbox([InboxAsk(APP, "d", 10)], now=NOW)
        assert page.rows == [row(e) for e in (urgent, urgent_2, normal, low)]
        assert page.waiting == 4

    async def test_many_devices_are_read_at_once_each_from_its_own_place(self, store: Messages) -> None:
        sent = await self.accept(store, *[new(n, "d-1", "d-2", "d-3") for n in range(5)])
        await self.apply(store, *[waits(e, device) for e in sent for device in ("d-1", "d-2")])
        asks = [
            InboxAsk(APP, "d-2", 2, after=(Priority.NORMAL.order, sent[1].id)),
            InboxAsk(APP, "d-3", 2),
            InboxAsk(APP, "d-1", 2),
            InboxAsk(APP, "d-2", 9, after=(Priority.HIGH.order, sent[4].id)),
            InboxAsk(APP, "d-1", 9, after=(Priority.LOW.order, 0)),
            InboxAsk(OTHER, "d-1", 2),
        ]
        pages = await store.inbox(asks, now=NOW)
        ids = [e.id for e in sent]
        assert [[r.id for r in page.rows] for page in pages] == [ids[2:4], [], ids[:2], ids, [], []]
        assert [page.waiting for page in pages] == [5, 0, 5, 5, 5, 0]

    async def test_reading_removes_nothing(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        await self.apply(store, waits(sent, "d"))
        assert await self.inbox_ids(store, "d") == await self.inbox_ids(store, "d") == [sent.id]
        await self.apply(store, moves(sent, "d", State.DELIVERED))
        assert await self.inbox_ids(store, "d") == []

    async def test_expired_rows_are_left_out(self, store: Messages) -> None:
        first, second = await self.accept(store, new(1, "d", expires=NOW + 50), new(2, "d", expires=NOW + 60))
        await self.apply(store, waits(first, "d"), waits(second, "d"))
        assert await self.inbox_ids(store, "d", now=NOW + 49) == [first.id, second.id]
        assert await self.inbox_ids(store, "d", now=NOW + 50) == [second.id]
        assert await self.inbox_ids(store, "d", now=NOW + 60) == []

    async def test_a_row_that_is_there_is_kept_with_its_marks_raised(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        for again, via in ((False, False), (True, False), (False, True), (False, False)):
            assert await self.apply(store, waits(sent, "d", again=again, via_vendor=via)) == [Applied.MADE]
        (page,) = await store.inbox([InboxAsk(APP, "d", 10)], now=NOW)
        assert page.rows == [row(sent, again=True, via_vendor=True)]

    async def test_of_one_collapse_key_the_highest_id_waits(self, store: Messages) -> None:
        sent = await self.accept(store, *[new(n, "d", collapse="order-9") for n in range(4)], new(5, "d", collapse="x"))
        older, newest, middle, oldest, other = sent[2], sent[3], sent[1], sent[0], sent[4]
        work = Later(id=older.id, app=APP, device="d", task=Task.FALLBACK, due=NOW)
        assert (await store.apply([waits(older, "d", later=work), waits(other, "d")], now=NOW)).ended == []
        outcome = await store.apply([waits(newest, "d")], now=NOW + 7)
        assert outcome.ended == [Ended(older.id, APP, "d", State.UNDELIVERABLE, "replaced")]
        outcome = await store.apply([waits(middle, "d"), waits(oldest, "d")], now=NOW + 8)
        assert outcome.applied == [Applied.MADE, Applied.MADE]
        assert [(e.id, e.reason) for e in outcome.ended] == [(middle.id, "replaced"), (oldest.id, "replaced")]
        assert await self.inbox_ids(store, "d") == [newest.id, other.id]
        assert await store.take_later(now=NOW, hold_ms=0) == []
        (delivery,) = (await self.view(store, older)).deliveries
        assert (delivery.state, delivery.reason) == (State.UNDELIVERABLE, "replaced")
        assert delivery.at["undeliverable"] == NOW + 7

    async def test_equal_collapse_keys_of_two_devices_and_two_apps_do_not_meet(self, store: Messages) -> None:
        sent = await self.accept(
            store, new(1, "a", collapse="k"), new(2, "b", collapse="k"), new(3, "a", collapse="k", app=OTHER)
        )
        outcome = await store.apply([waits(e, e.devices[0]) for e in sent], now=NOW)
        assert outcome.ended == []

    async def test_a_change_to_what_was_displaced_in_the_same_call_comes_too_late(self, store: Messages) -> None:
        older, newer = await self.accept(store, new(1, "d", collapse="k"), new(2, "d", collapse="k"))
        await self.apply(store, waits(older, "d"))
        outcome = await store.apply([waits(newer, "d"), moves(older, "d", State.DELIVERED)], now=NOW)
        assert outcome.applied == [Applied.MADE, Applied.LATE]
        assert [e.id for e in outcome.ended] == [older.id]

    async def test_what_was_displaced_in_the_same_call_does_not_come_back(self, store: Messages) -> None:
        older, newer = await self.accept(store, new(1, "d", collapse="k"), new(2, "d", collapse="k"))
        await self.apply(store, waits(older, "d"))
        outcome = await store.apply([waits(newer, "d"), waits(older, "d")], now=NOW)
        assert outcome.applied == [Applied.MADE, Applied.LATE]
        assert [e.id for e in outcome.ended] == [older.id]
        assert await self.inbox_ids(store, "d") == [newer.id]

    async def test_an_ack_before_the_displacement_counts(self, store: Messages) -> None:
        older, newer = await self.accept(store, new(1, "d", collapse="k"), new(2, "d", collapse="k"))
        await self.apply(store, waits(older, "d"))
        outcome = await store.apply([moves(older, "d", State.DELIVERED), waits(newer, "d")], now=NOW)
        assert (outcome.applied, outcome.ended) == ([Applied.MADE, Applied.MADE], [])

    async def test_the_oldest_of_a_full_inbox_ends(self, store: Messages) -> None:
        sent = await self.accept(store, *[new(n, "d") for n in range(INBOX_LIMIT + 3)])
        middle = [waits(e, "d") for e in sent[1:-2]]
        for start in range(0, len(middle), 250):
            assert (await store.apply(middle[start : start + 250], now=NOW)).ended == []
        outcome = await store.apply([waits(sent[-1], "d"), waits(sent[-2], "d")], now=NOW)
        assert [(e.id, e.reason) for e in outcome.ended] == [(e.id, "inbox_full") for e in sent[1:3]]
        outcome = await store.apply([waits(sent[0], "d")], now=NOW)
        assert outcome.ended == [Ended(sent[0].id, APP, "d", State.UNDELIVERABLE, "inbox_full")], "it is the oldest"
        assert await store.waiting([(APP, "d")]) == [INBOX_LIMIT]
        assert await self.inbox_ids(store, "d") == [e.id for e in sent[3:]]
        assert await self.state(store, sent[1], "d") is State.UNDELIVERABLE

    async def test_waiting_counts_in_the_order_asked(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "a", "b"))
        await self.apply(store, waits(sent, "a"))
        assert await store.waiting([(APP, "b"), (APP, "a"), (OTHER, "a"), (APP, "a")]) == [0, 1, 0, 1]
        assert await store.waiting([]) == []

    async def test_what_waits_past_its_time_ends(self, store: Messages) -> None:
        soon, vendor, late = await self.accept(
            store, new(1, "d", expires=NOW + 5), new(2, "d", expires=NOW + 6), new(3, "d")
        )
        work = Later(id=soon.id, app=APP, device="d", task=Task.FALLBACK, due=NOW)
        await self.apply(store, waits(soon, "d", later=work), waits(late, "d"))
        await self.apply(store, waits(vendor, "d", to=State.VENDOR, channel="apns", via_vendor=True))
        assert await store.expire(now=NOW + 4) == []
        assert await store.expire(now=NOW + 6) == [
            Ended(vendor.id, APP, "d", State.EXPIRED, "unconfirmed"),
            Ended(soon.id, APP, "d", State.EXPIRED, "ttl"),
        ]
        assert await store.expire(now=NOW + 6) == []
        assert await self.inbox_ids(store, "d", now=NOW) == [late.id]
        assert await store.take_later(now=NOW, hold_ms=0) == []

    async def test_fewer_results_than_the_limit_mean_that_nothing_is_left(self, store: Messages) -> None:
        sent = await self.accept(store, *[new(n, "d", expires=NOW + 5) for n in range(10)])
        for one in sent[:5]:
            await self.apply(store, moves(one, "d", State.DELIVERED))
        await store.recall([(APP, e.id) for e in sent[:5]], now=NOW)
        await self.apply(store, *[waits(e, "d") for e in sent[5:]])
        later = NOW + 100 * HOUR
        assert len(await store.expire(now=later, limit=3)) == 3
        assert len(await store.expire(now=later, limit=3)) == 2
        assert await store.waiting([(APP, "d")]) == [0], "expired recall rows are removed too"
        assert await self.state(store, sent[0], "d") is State.DELIVERED

    async def test_a_reason_is_kept_with_the_end(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d", expires=NOW + 5))
        await self.apply(store, waits(sent, "d", reason=Reason.ACK_MISSED))
        assert (await self.view(store, sent)).reason == "ack_missed"
        await store.expire(now=NOW + 5)
        view = await self.view(store, sent)
        assert (view.state, view.reason) == (State.EXPIRED, "ttl")


class TestInboxOnSqliteFile(OnSqliteFile, Inbox): ...


class TestInboxOnSqliteMemory(OnSqliteMemory, Inbox): ...


class TestInboxOnMaria(OnMaria, Inbox): ...


class TestInboxOnTwoSqliteFiles(OnTwoSqliteFiles, Inbox): ...


class TestInboxOnTwoMarias(OnTwoMarias, Inbox): ...
