"""The contract of accepting messages, reading them and taking them back."""

import asyncio

import pytest

from push_core.errors import Unavailable
from push_core.lifecycle import Reason, State
from push_core.messages.port import IDEMPOTENCY_MS, INBOX_LIMIT, Applied, Commit, InboxAsk, Later, Messages, Task
from tests.contracts.messages_support import APP, HOUR, NOW, OTHER, MessagesContract, envelope, moves, new, waits
from tests.contracts.sql_stores import OnMaria, OnSqliteFile, OnSqliteMemory, OnTwoMarias, OnTwoSqliteFiles


class Acceptance(MessagesContract):
    async def test_a_committed_message_has_an_accepted_delivery_for_each_named_device(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d-1", "d-2"))
        view = await self.view(store, sent)
        assert (view.state, view.counts, view.recalled_at) == (State.ACCEPTED, {"accepted": 2}, None)
        assert [(d.device, d.state, d.at) for d in view.deliveries] == [
            ("d-1", State.ACCEPTED, {"accepted": NOW}),
            ("d-2", State.ACCEPTED, {"accepted": NOW}),
        ]

    async def test_an_envelope_is_given_back_as_committed(self, store: Messages) -> None:
        sent = await self.accept(store, new(1, "d-1", vendor={"apns": {"sound": "x"}}), new(2, "d-2", collapse="c"))
        assert await store.envelopes([sent[1].id, 99, sent[0].id]) == [sent[1], None, sent[0]]

    async def test_a_key_that_comes_again_is_answered_with_its_first_message(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d-1", key="k"))
        (answer,) = await store.commit([new(2, "d-1", key="k")], now=NOW + 5)
        assert (answer.outcome, answer.id) == (Commit.REPLAY, sent.id)
        assert await store.get([(APP, envelope(2).id)]) == [None]

    async def test_a_key_used_for_another_message_is_a_conflict(self, store: Messages) -> None:
        await self.accept(store, new(1, "d-1", key="k"))
        (answer,) = await store.commit([new(2, "d-1", key="k", digest=b"other")], now=NOW)
        assert answer.outcome is Commit.CONFLICT
        assert await store.get([(APP, envelope(2).id)]) == [None]

    async def test_of_one_key_in_a_batch_the_first_is_done(self, store: Messages) -> None:
        batch = [new(1, "d", key="k"), new(2, "d", key="k"), new(3, "d", key="k", digest=b"other"), new(4, "d")]
        answers = await store.commit(batch, now=NOW)
        assert [a.outcome for a in answers] == [Commit.DONE, Commit.REPLAY, Commit.CONFLICT, Commit.DONE]
        assert answers[1].id == batch[0].envelope.id

    async def test_two_apps_may_use_the_same_key(self, store: Messages) -> None:
        await self.accept(store, new(1, "d-1", key="k"), new(2, "d-1", key="k", app=OTHER))

    async def test_a_key_counts_for_a_day(self, store: Messages) -> None:
        await self.accept(store, new(1, "d-1", key="k"))
        almost, day = NOW + IDEMPOTENCY_MS - 1, NOW + IDEMPOTENCY_MS
        (answer,) = await store.commit([new(2, "d-1", key="k", at=almost)], now=almost)
        assert answer.outcome is Commit.REPLAY
        (answer,) = await store.commit([new(3, "d-1", key="k", at=day)], now=day)
        assert answer.outcome is Commit.DONE
        (again,) = await store.commit([new(4, "d-1", key="k", at=day)], now=day)
        assert (again.outcome, again.id) == (Commit.REPLAY, answer.id)

    async def test_a_taken_id_is_a_collision_and_writes_nothing(self, store: Messages) -> None:
        (first,) = await self.accept(store, new(1, "d-1"))
        answers = await store.commit([new(1, "d-9", app=OTHER, key="k"), new(2, "d-2")], now=NOW)
        assert [a.outcome for a in answers] == [Commit.COLLISION, Commit.DONE]
        assert (await self.view(store, first)).counts == {"accepted": 1}
        assert await store.get([(OTHER, first.id)]) == [None]
        (retried,) = await store.commit([new(3, "d-9", app=OTHER, key="k")], now=NOW)
        assert retried.outcome is Commit.DONE, "the key of a collided message is not spent"

    async def test_who_shares_a_key_with_a_collided_message_comes_again_too(self, store: Messages) -> None:
        await self.accept(store, new(1, "d-1"))
        answers = await store.commit([new(1, "d-2", key="k"), new(2, "d-2", key="k")], now=NOW)
        assert [a.outcome for a in answers] == [Commit.COLLISION, Commit.COLLISION]
        assert await store.get([(APP, envelope(2).id)]) == [None]

    async def test_one_id_twice_in_a_batch_collides(self, store: Messages) -> None:
        answers = await store.commit([new(1, "d-1"), new(1, "d-2")], now=NOW)
        assert [a.outcome for a in answers] == [Commit.DONE, Commit.COLLISION]
        assert [d.device for d in (await self.view(store, envelope(1))).deliveries] == ["d-1"]

    async def test_a_commit_repeated_after_a_lost_answer_is_done_once(self, store: Messages) -> None:
        batch = [new(1, "d-1", "d-2"), new(2, "d-1", key="k")]
        await store.commit(batch, now=NOW)
        answers = await store.commit(batch, now=NOW + 1)
        assert [(a.outcome, a.id) for a in answers] == [
            (Commit.DONE, batch[0].envelope.id),
            (Commit.REPLAY, batch[1].envelope.id),
        ]
        assert (await self.view(store, batch[0].envelope)).counts == {"accepted": 2}

    async def test_ids_that_are_too_old_are_refused_with_nothing_written(self, store: Messages) -> None:
        with pytest.raises(Unavailable, match="too late"):
            await store.commit([new(1, "d-1"), new(2, "d-1", at=NOW + 5_001)], now=NOW + 5_001)
        assert await store.get([(APP, envelope(1).id), (APP, envelope(2, at=NOW + 5_001).id)]) == [None, None]

    async def test_too_old_ids_take_no_other_call_with_them(self, store: Messages) -> None:
        late = store.commit([new(1, "d-1")], now=NOW + 60_000)
        good = [store.commit([new(n, "d-1")], now=NOW) for n in range(2, 12)]
        refused, *answers = await asyncio.gather(late, *good, return_exceptions=True)
        assert isinstance(refused, Unavailable)
        assert [a[0].outcome for a in answers if not isinstance(a, BaseException)] == [Commit.DONE] * 10

    async def test_a_batch_of_five_hundred_is_committed(self, store: Messages) -> None:
        sent = await self.accept(store, *[new(n, f"d-{n}", "all") for n in range(500)])
        assert sum(e is not None for e in await store.envelopes([e.id for e in sent])) == 500
        assert await store.waiting([(APP, "all")]) == [0]

    async def test_calls_at_the_same_time_are_all_answered(self, store: Messages) -> None:
        calls = [store.commit([new(n, f"d-{n}", key=f"k-{n % 50}")], now=NOW) for n in range(100)]
        outcomes = [answers[0].outcome for answers in await asyncio.gather(*calls)]
        assert (outcomes.count(Commit.DONE), outcomes.count(Commit.REPLAY)) == (50, 50)

    async def test_names_are_compared_exactly(self, store: Messages) -> None:
        names = ["a", "A", "a ", " a", "å", "a\u030a", "😀"]
        (sent,) = await self.accept(store, new(1, *names))
        assert {d.device for d in (await self.view(store, sent)).deliveries} == set(names)
        assert await self.apply(store, moves(sent, "a  ", State.DELIVERED)) == [Applied.FOREIGN]

    async def test_another_app_does_not_see_the_message(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d-1"))
        assert await store.get([(OTHER, sent.id), (APP, sent.id + 1)]) == [None, None]
        assert await store.standings([(sent.id, OTHER, "d-1"), (sent.id, APP, "d-2")]) == [None, None]

    async def test_deliveries_are_paged_by_the_name_of_the_device(self, store: Messages) -> None:
        names = [f"d-{n:02}" for n in range(7)]
        (sent,) = await self.accept(store, new(1, *reversed(names)))
        first = await self.view(store, sent, limit=3)
        second = await self.view(store, sent, after=first.next, limit=3)
        third = await self.view(store, sent, after=second.next, limit=3)
        assert [d.device for view in (first, second, third) for d in view.deliveries] == names
        assert (first.next, second.next, third.next) == ("d-02", "d-05", None)
        assert first.counts == third.counts == {"accepted": 7}

    async def test_a_message_is_where_its_most_advanced_delivery_is(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "a", "b", "c"))
        await self.apply(store, waits(sent, "a"), moves(sent, "b", State.EXPIRED, reason=Reason.TTL))
        view = await self.view(store, sent)
        assert (view.state, view.reason) == (State.WAITING, "offline")
        assert view.counts == {"waiting": 1, "expired": 1, "accepted": 1}
        await self.apply(store, moves(sent, "c", State.DISPLAYED))
        assert (await self.view(store, sent)).state is State.DISPLAYED


class Recall(MessagesContract):
    async def test_a_recall_ends_what_is_open_and_tells_who_may_have_it(self, store: Messages) -> None:
        names = ("accepted", "delivered", "ended", "sending", "tried", "untried", "vendor", "via")
        (sent,) = await self.accept(store, new(1, *names))
        await self.apply(
            store,
            moves(sent, "delivered", State.DELIVERED),
            moves(sent, "ended", State.EXPIRED, reason=Reason.TTL),
            moves(sent, "sending", State.SENDING),
            waits(sent, "tried", again=True),
            waits(sent, "untried"),
            moves(sent, "vendor", State.VENDOR, channel="apns"),
            waits(sent, "via", via_vendor=True),
        )
        (answer,) = await store.recall([(APP, sent.id)], now=NOW + 50)
        assert answer is not None
        assert answer.notify == ["accepted", "delivered", "sending", "tried", "vendor", "via"]
        assert answer.stopped == ["accepted", "sending", "tried", "untried", "vendor", "via"]
        view = await self.view(store, sent)
        assert (view.recalled_at, view.counts) == (NOW + 50, {"recalled": 6, "delivered": 1, "expired": 1})
        assert view.deliveries[0].at == {"accepted": NOW, "recalled": NOW + 50}

    async def test_a_recalled_delivery_leaves_no_inbox_row_and_no_later_work(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d-1", "d-2"))
        work = Later(id=sent.id, app=APP, device="d-1", task=Task.FALLBACK, due=NOW)
        await self.apply(store, waits(sent, "d-1", later=work), waits(sent, "d-2"))
        await store.put_later([Later(id=sent.id, app=APP, device="", task=Task.REPUBLISH, due=NOW)])
        await store.recall([(APP, sent.id)], now=NOW)
        assert await store.waiting([(APP, "d-1"), (APP, "d-2")]) == [0, 0]
        assert await store.take_later(now=NOW + HOUR, hold_ms=1) == []

    async def test_a_device_that_may_have_it_finds_a_recall_row_until_it_was_shown(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d-1"))
        await self.apply(store, moves(sent, "d-1", State.DELIVERED))
        await store.recall([(APP, sent.id)], now=NOW)
        (page,) = await store.inbox([InboxAsk(APP, "d-1", 10)], now=NOW + 2 * HOUR)
        assert [(r.id, r.recall, r.push, r.priority) for r in page.rows] == [(sent.id, True, b"", 0)]
        await store.recalls_shown([(OTHER, "d-1", sent.id)])
        assert await store.waiting([(APP, "d-1")]) == [1]
        await store.recalls_shown([(APP, "d-1", sent.id)])
        assert await store.waiting([(APP, "d-1")]) == [0]

    async def test_a_repeated_recall_answers_the_same_and_asks_nobody_again(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d-1", "d-2"))
        await self.apply(store, waits(sent, "d-2"))
        first = await store.recall([(APP, sent.id)], now=NOW)
        await store.recalls_shown([(APP, "d-1", sent.id)])
        assert await store.recall([(APP, sent.id)], now=NOW + 99) == first
        assert await store.waiting([(APP, "d-1")]) == [0]
        assert (await self.view(store, sent)).recalled_at == NOW

    async def test_another_apps_message_is_not_recalled(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d-1"))
        assert await store.recall([(OTHER, sent.id), (APP, 5)], now=NOW) == [None, None]
        assert await store.recalled([sent.id, 5]) == set()
        await store.recall([(APP, sent.id)], now=NOW)
        assert await store.recalled([sent.id, 5]) == {sent.id}
        (standing,) = await store.standings([(sent.id, APP, "d-1")])
        assert standing is not None
        assert (standing.state, standing.recalled) == (State.RECALLED, True)

    async def test_a_recall_row_displaces_the_oldest_of_a_full_inbox(self, store: Messages) -> None:
        full = await self.accept(store, *[new(n, "d-1") for n in range(INBOX_LIMIT)])
        await self.apply(store, *[waits(e, "d-1") for e in full])
        (had,) = await self.accept(store, new(2_000, "d-1"))
        await self.apply(store, moves(had, "d-1", State.DELIVERED))
        (answer,) = await store.recall([(APP, had.id)], now=NOW)
        assert answer is not None
        assert [(e.id, e.reason) for e in answer.displaced] == [(full[0].id, Reason.INBOX_FULL)]
        assert await store.waiting([(APP, "d-1")]) == [INBOX_LIMIT]
        assert await self.state(store, full[0], "d-1") is State.UNDELIVERABLE


class Expansion(MessagesContract):
    async def test_an_alias_becomes_deliveries_page_by_page(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, alias="user-1"))
        assert (await self.view(store, sent)).state is State.ACCEPTED
        await store.expand([(sent.id, APP, ["d-1", "d-2"])], now=NOW + 5)
        await store.expand([(sent.id, APP, ["d-2", "d-3"])], now=NOW + 6)
        await store.expanded([(sent.id, APP, None)], now=NOW + 7)
        await store.expand([(sent.id, APP, ["d-2", "d-3"])], now=NOW + 8)
        view = await self.view(store, sent)
        assert [(d.device, d.at) for d in view.deliveries] == [
            ("d-1", {"accepted": NOW + 5}),
            ("d-2", {"accepted": NOW + 5}),
            ("d-3", {"accepted": NOW + 6}),
        ]

    async def test_a_message_is_open_while_more_devices_may_come(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, alias="user-1"))
        await store.expand([(sent.id, APP, ["d-1"])], now=NOW)
        await self.apply(store, moves(sent, "d-1", State.EXPIRED, reason=Reason.TTL))
        assert (await self.view(store, sent)).state is State.ACCEPTED
        await store.expanded([(sent.id, APP, None)], now=NOW)
        assert (await self.view(store, sent)).state is State.EXPIRED

    async def test_an_alias_without_devices_ends_undeliverable(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, alias="user-1"))
        await store.expanded([(sent.id, OTHER, None)], now=NOW)
        await store.expanded([(sent.id, APP, Reason.NO_DEVICE)], now=NOW)
        await store.expanded([(sent.id, APP, None)], now=NOW)
        view = await self.view(store, sent)
        assert (view.state, view.reason, view.deliveries) == (State.UNDELIVERABLE, "no_device", [])

    async def test_a_recalled_message_expands_to_nothing(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, alias="user-1"))
        assert await store.recall([(APP, sent.id)], now=NOW) is not None
        await store.expand([(sent.id, APP, ["d-1"])], now=NOW)
        view = await self.view(store, sent)
        assert (view.state, view.deliveries) == (State.RECALLED, [])
        assert await store.open_between(0, sent.id) == []

    async def test_only_its_own_app_expands_a_message_and_only_an_alias_is_expanded(self, store: Messages) -> None:
        alias, named = await self.accept(store, new(1, alias="user-1"), new(2, "d-1"))
        await store.expand([(alias.id, OTHER, ["d-1"]), (named.id, APP, ["d-2"]), (5, APP, ["d-1"])], now=NOW)
        assert (await self.view(store, alias)).deliveries == []
        assert [d.device for d in (await self.view(store, named)).deliveries] == ["d-1"]


class TestAcceptanceOnSqliteFile(OnSqliteFile, Acceptance): ...


class TestAcceptanceOnSqliteMemory(OnSqliteMemory, Acceptance): ...


class TestAcceptanceOnMaria(OnMaria, Acceptance): ...


class TestAcceptanceOnTwoSqliteFiles(OnTwoSqliteFiles, Acceptance): ...


class TestAcceptanceOnTwoMarias(OnTwoMarias, Acceptance): ...


class TestRecallOnSqliteFile(OnSqliteFile, Recall): ...


class TestRecallOnSqliteMemory(OnSqliteMemory, Recall): ...


class TestRecallOnMaria(OnMaria, Recall): ...


class TestRecallOnTwoSqliteFiles(OnTwoSqliteFiles, Recall): ...


class TestRecallOnTwoMarias(OnTwoMarias, Recall): ...


class TestExpansionOnSqliteFile(OnSqliteFile, Expansion): ...


class TestExpansionOnSqliteMemory(OnSqliteMemory, Expansion): ...


class TestExpansionOnMaria(OnMaria, Expansion): ...


class TestExpansionOnTwoSqliteFiles(OnTwoSqliteFiles, Expansion): ...


class TestExpansionOnTwoMarias(OnTwoMarias, Expansion): ...
