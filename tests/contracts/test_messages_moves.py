"""The contract of moving deliveries: `apply`, and where a delivery is said to be."""

import msgspec
import pytest

from push_core.lifecycle import ENDS, OPEN, Reason, State, may_move
from push_core.messages.port import Applied, Later, Messages, Standing, Task
from tests.contracts.messages_support import APP, NOW, OTHER, MessagesContract, moves, new, waits
from tests.contracts.sql_stores import OnMaria, OnSqliteFile, OnSqliteMemory, OnTwoMarias, OnTwoSqliteFiles

MADE, REPEAT, LATE, FOREIGN = Applied.MADE, Applied.REPEAT, Applied.LATE, Applied.FOREIGN


class Moves(MessagesContract):
    @pytest.mark.parametrize("stored", [True, False])
    async def test_every_pair_of_states_moves_by_the_table(self, store: Messages, stored: bool) -> None:
        pairs = [(first, then) for first in State if first is not State.ACCEPTED for then in State]
        sent = await self.accept(store, *[new(n, "d") for n in range(len(pairs))])
        firsts = [moves(e, "d", first, stored=stored) for e, (first, _) in zip(sent, pairs, strict=True)]
        assert set(await self.apply(store, *firsts)) == {MADE}
        thens = [moves(e, "d", then, stored=stored) for e, (_, then) in zip(sent, pairs, strict=True)]
        for one, (first, then), answer in zip(sent, pairs, await self.apply(store, *thens), strict=True):
            expected = MADE if may_move(first, then) else LATE if first in ENDS and then is not first else REPEAT
            assert answer is expected, (first, then)
            assert await self.state(store, one, "d") is (then if answer is MADE else first)

    @pytest.mark.parametrize("stored", [True, False])
    async def test_many_acks_are_answered_one_by_one_in_order(self, store: Messages, stored: bool) -> None:
        sent = await self.accept(store, *[new(n, f"d-{n}") for n in range(300)])
        acks = [moves(e, f"d-{n}", State.DELIVERED, stored=stored) for n, e in enumerate(sent)]
        assert await self.apply(store, *acks[:100]) == [MADE] * 100
        strangers = [msgspec.structs.replace(ack, app=OTHER) for ack in acks[150:153]]
        mixed = [*acks[98:102], *strangers, *acks[200:]]
        assert await self.apply(store, *mixed) == [REPEAT, REPEAT, MADE, MADE, *[FOREIGN] * 3, *[MADE] * 100]

    async def test_a_change_says_when_and_why_and_by_which_road(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        await self.apply(store, waits(sent, "d", at=NOW + 5))
        await self.apply(store, moves(sent, "d", State.DELIVERED, at=NOW + 9, written_at=NOW + 7, channel="long"))
        (delivery,) = (await self.view(store, sent)).deliveries
        assert (delivery.channel, delivery.reason) == ("long", "")
        assert delivery.at == {"accepted": NOW, "waiting": NOW + 5, "sending": NOW + 7, "delivered": NOW + 9}

    async def test_a_change_without_a_road_keeps_the_one_that_was_taken(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        await self.apply(store, moves(sent, "d", State.SENDING, channel="long", at=NOW + 1))
        await self.apply(store, moves(sent, "d", State.DELIVERED, written_at=NOW + 8))
        (delivery,) = (await self.view(store, sent)).deliveries
        assert (delivery.channel, delivery.at["sending"]) == ("long", NOW + 1)

    async def test_a_written_frame_is_sending_since_it_was_written(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        await self.apply(store, moves(sent, "d", State.SENDING, at=NOW + 1_000, written_at=NOW + 2))
        assert (await self.view(store, sent)).deliveries[0].at["sending"] == NOW + 2

    async def test_an_ack_after_the_end_is_late_and_shown(self, store: Messages) -> None:
        sent = await self.accept(store, new(1, "d"), new(2, "d"))
        await self.apply(store, *[moves(e, "d", State.EXPIRED, reason=Reason.TTL, stored=False) for e in sent])
        acks = [moves(e, "d", State.DELIVERED, at=NOW + 90, stored=False) for e in sent]
        assert await self.apply(store, *acks) == [LATE, LATE]
        assert await self.apply(store, moves(sent[0], "d", State.CLICKED, at=NOW + 99)) == [LATE]
        for one in sent:
            (delivery,) = (await self.view(store, one)).deliveries
            assert (delivery.state, delivery.reason, delivery.at["late_at"]) == (State.EXPIRED, "ttl", NOW + 90)

    async def test_what_is_not_an_ack_leaves_no_mark_on_an_ended_delivery(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        await self.apply(store, moves(sent, "d", State.EXPIRED, reason=Reason.TTL))
        assert await self.apply(store, waits(sent, "d")) == [LATE]
        assert await self.apply(store, moves(sent, "d", State.EXPIRED, reason=Reason.TTL)) == [REPEAT]
        assert "late_at" not in (await self.view(store, sent)).deliveries[0].at
        assert await store.waiting([(APP, "d")]) == [0]

    async def test_a_refusal_by_the_device_is_an_ack(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        dropped = moves(sent, "d", State.UNDELIVERABLE, reason=Reason.DROPPED)
        assert await self.apply(store, dropped) == [MADE]
        assert await self.apply(store, dropped) == [REPEAT]
        assert "late_at" not in (await self.view(store, sent)).deliveries[0].at
        (other,) = await self.accept(store, new(2, "d"))
        await self.apply(store, moves(other, "d", State.UNDELIVERABLE, reason=Reason.POISON))
        assert await self.apply(store, msgspec.structs.replace(dropped, id=other.id)) == [LATE]
        assert (await self.view(store, other)).deliveries[0].at["late_at"] == NOW + 20

    async def test_changes_to_one_delivery_are_made_in_order(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        steps = [waits(sent, "d"), moves(sent, "d", State.SENDING), moves(sent, "d", State.DELIVERED), waits(sent, "d")]
        assert await self.apply(store, *steps) == [MADE, MADE, MADE, REPEAT]
        assert await self.state(store, sent, "d") is State.DELIVERED
        assert await store.waiting([(APP, "d")]) == [0]

    async def test_an_end_removes_the_inbox_row_and_later_work(self, store: Messages) -> None:
        for n, to in enumerate(State):
            if to in OPEN:
                continue
            (sent,) = await self.accept(store, new(n, "d"))
            work = Later(id=sent.id, app=APP, device="d", task=Task.FALLBACK, due=NOW)
            await self.apply(store, waits(sent, "d", later=work))
            assert await self.apply(store, moves(sent, "d", to)) == [MADE]
            assert await store.waiting([(APP, "d")]) == [0], to
            assert await store.take_later(now=NOW, hold_ms=0) == [], to

    async def test_a_row_left_by_an_ack_that_knew_of_none_goes_with_the_next_ack(self, store: Messages) -> None:
        for n, end in enumerate((State.DELIVERED, State.UNDELIVERABLE)):
            (sent,) = await self.accept(store, new(n, "d"))
            work = Later(id=sent.id, app=APP, device="d", task=Task.FALLBACK, due=NOW)
            await self.apply(store, waits(sent, "d", later=work))
            await self.apply(store, moves(sent, "d", end, stored=False, reason=Reason.REJECTED))
            assert await store.waiting([(APP, "d")]) == [1], "a gateway that was given it before it was stored"
            assert await self.apply(store, moves(sent, "d", State.DELIVERED)) == [REPEAT if n == 0 else LATE]
            assert await store.waiting([(APP, "d")]) == [0], "else it would come on every connect until it expires"
            assert await store.take_later(now=NOW, hold_ms=0) == []

    async def test_a_move_among_open_states_keeps_the_inbox_row(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        await self.apply(store, waits(sent, "d"), moves(sent, "d", State.SENDING))
        assert await self.inbox_ids(store, "d") == [sent.id]

    async def test_a_repeat_completes_what_a_crash_left_out(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        bare = waits(sent, "d", inbox=None)
        assert await self.apply(store, bare) == [MADE]
        assert await self.apply(store, bare) == [REPEAT]
        work = Later(id=sent.id, app=APP, device="d", task=Task.FALLBACK, due=NOW)
        assert await self.apply(store, waits(sent, "d", at=NOW + 99, later=work)) == [MADE]
        assert await self.inbox_ids(store, "d") == [sent.id]
        assert [row.task for row in await store.take_later(now=NOW, hold_ms=1)] == [Task.FALLBACK]
        assert (await self.view(store, sent)).deliveries[0].at["waiting"] == NOW + 10, "it entered the state once"

    async def test_what_waits_on_for_another_reason_says_so(self, store: Messages) -> None:
        """A vendor refused what waited for the device to come back: callers saw `offline` and never why no vendor had it."""
        (sent,) = await self.accept(store, new(1, "d"))
        await self.apply(store, waits(sent, "d"), waits(sent, "d", reason=Reason.REJECTED))
        assert (await self.view(store, sent)).deliveries[0].reason == "rejected"

    async def test_what_hangs_on_a_change_that_was_not_made_does_not_happen(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, "d"))
        await self.apply(store, moves(sent, "d", State.DELIVERED))
        work = Later(id=sent.id, app=APP, device="d", task=Task.FALLBACK, due=NOW)
        assert await self.apply(store, waits(sent, "d", later=work)) == [REPEAT]
        assert await self.apply(store, waits(sent, "nobody", later=work)) == [FOREIGN]
        assert await store.waiting([(APP, "d"), (APP, "nobody")]) == [0, 0]
        assert await store.take_later(now=NOW, hold_ms=0) == []

    async def test_equal_device_names_of_two_apps_are_two_devices(self, store: Messages) -> None:
        ours, theirs = await self.accept(store, new(1, "d"), new(2, "d", app=OTHER))
        await self.apply(store, waits(ours, "d"), waits(theirs, "d"))
        assert await self.inbox_ids(store, "d") == [ours.id]
        assert await self.inbox_ids(store, "d", app=OTHER) == [theirs.id]
        wrong = msgspec.structs.replace(moves(theirs, "d", State.DELIVERED), app=APP)
        assert await self.apply(store, wrong) == [FOREIGN]
        assert await self.apply(store, msgspec.structs.replace(wrong, stored=False)) == [FOREIGN]
        assert await self.state(store, theirs, "d") is State.WAITING
        assert await store.waiting([(APP, "d"), (OTHER, "d")]) == [1, 1]

    async def test_a_standing_says_what_a_repeat_is_checked_against(self, store: Messages) -> None:
        one, two = await self.accept(store, new(1, "d"), new(2, "d"))
        await self.apply(store, waits(one, "d"), moves(two, "d", State.VENDOR, channel="apns"))
        asked = [(two.id, APP, "d"), (one.id, APP, "d"), (9, APP, "d"), (one.id, APP, "d")]
        waiting = Standing(State.WAITING, in_inbox=True)
        assert await store.standings(asked) == [Standing(State.VENDOR, vendor="apns"), waiting, None, waiting]
        await self.apply(store, moves(two, "d", State.SENDING, channel="long"))
        assert await store.standings(asked[:1]) == [Standing(State.SENDING, vendor="apns")]


class TestMovesOnSqliteFile(OnSqliteFile, Moves): ...


class TestMovesOnSqliteMemory(OnSqliteMemory, Moves): ...


class TestMovesOnMaria(OnMaria, Moves): ...


class TestMovesOnTwoSqliteFiles(OnTwoSqliteFiles, Moves): ...


class TestMovesOnTwoMarias(OnTwoMarias, Moves): ...
