"""What follows from a gateway's answer, as a table."""

import pytest

from dispatcher.delivery import Delivery
from dispatcher.settle import Settlement, Then, decide
from push_core.lifecycle import Reason, State
from push_core.messages.port import Task
from push_core.models import Channels
from push_core.rpc.port import Taking
from tests.support.envelopes import sample

AUTO, LONG = Channels.AUTO, Channels.LONG
NOW = 1_790_000_000_000


@pytest.mark.parametrize(
    ("taking", "channels", "live_only", "expired", "vendor", "then"),
    [
        (Taking.ACCEPTED, AUTO, False, False, True, Then.NOTHING),
        (Taking.ACCEPTED, LONG, True, True, False, Then.NOTHING),
        (Taking.FULL, AUTO, False, False, True, Then.STORE_AND_FALL_BACK),
        (Taking.FULL, AUTO, False, False, False, Then.STORE),
        (Taking.FULL, LONG, False, False, True, Then.STORE),
        (Taking.FULL, AUTO, True, False, True, Then.NOT_CONNECTED),
        (None, AUTO, False, False, True, Then.VENDOR),
        (None, AUTO, False, False, False, Then.STORE),
        (None, LONG, False, False, True, Then.STORE),
        (None, AUTO, True, False, True, Then.NOT_CONNECTED),
        (None, AUTO, False, True, True, Then.EXPIRE),
        (Taking.EXPIRED, AUTO, False, True, True, Then.EXPIRE),
        (Taking.EXPIRED, AUTO, True, True, True, Then.NOT_CONNECTED),
        (Taking.EXPIRED, AUTO, False, False, True, Then.PUT_OFF),
        (Taking.UNKNOWN, AUTO, False, False, True, Then.PUT_OFF),
        (Taking.UNKNOWN, AUTO, False, True, True, Then.PUT_OFF),
        (Taking.UNKNOWN, LONG, True, False, False, Then.PUT_OFF_LIVE),
        (Taking.NOT_REACHED, AUTO, False, False, True, Then.STORE_AND_FALL_BACK),
        (Taking.NOT_REACHED, AUTO, False, False, False, Then.STORE),
        (Taking.NOT_REACHED, LONG, False, False, True, Then.STORE),
        (Taking.NOT_REACHED, AUTO, False, True, True, Then.EXPIRE),
        (Taking.NOT_REACHED, AUTO, True, False, True, Then.NOT_CONNECTED),
    ],
)
def test_every_answer_has_one_consequence(
    taking: Taking | None, channels: Channels, live_only: bool, expired: bool, vendor: bool, then: Then
) -> None:
    assert decide(taking, channels, live_only=live_only, expired=expired, vendor=vendor) is then


def test_unknown_takes_no_second_road_before_the_ack_deadline() -> None:
    settlement = Settlement()
    settlement.add(Then.PUT_OFF, delivery(), now=NOW)
    assert settlement.changes == []
    (row,) = settlement.later
    assert (row.task, row.due, row.device, row.tries) == (Task.REPUBLISH, NOW + 10_000, "d-1", 0)


def test_unknown_for_a_live_only_push_ends_at_its_deadline() -> None:
    settlement = Settlement()
    settlement.add(Then.PUT_OFF_LIVE, delivery(), now=NOW)
    (row,) = settlement.later
    assert (row.task, row.due) == (Task.EXPIRE, NOW + 60_000)


def test_a_full_window_with_a_token_falls_back_at_the_ack_deadline() -> None:
    settlement = Settlement()
    settlement.add(Then.STORE_AND_FALL_BACK, delivery(), now=NOW, reason=Reason.FULL)
    (change,) = settlement.changes
    assert (change.to, change.reason) == (State.WAITING, Reason.FULL)
    assert change.later is not None
    assert (change.later.task, change.later.due) == (Task.FALLBACK, NOW + 10_000)
    assert settlement.wishes == {}


def test_the_vendor_road_stores_first_and_has_a_net() -> None:
    settlement = Settlement()
    settlement.add(Then.VENDOR, delivery(), now=NOW, net_ms=60_000, route=("stub", "t"))
    (change,) = settlement.changes
    assert change.inbox is not None
    assert change.later is not None
    assert (change.later.task, change.later.due) == (Task.FALLBACK, NOW + 60_000)
    assert (settlement.wishes[0].channel, settlement.wishes[0].token) == ("stub", "t")


def test_what_may_have_been_written_is_stored_as_again() -> None:
    settlement = Settlement()
    settlement.add(Then.STORE, delivery(again=True), now=NOW)
    row = settlement.changes[0].inbox
    assert row is not None
    assert row.again


def test_vendor_only_has_no_inbox_row_but_a_deadline() -> None:
    settlement = Settlement()
    settlement.add_vendor_only(delivery(), now=NOW, net_ms=60_000, route=("stub", "t"), blocked=False)
    assert [change.inbox for change in settlement.changes] == [None, None]
    tasks = {change.later.task: change.later.due for change in settlement.changes if change.later is not None}
    assert tasks == {Task.EXPIRE: NOW + 60_000, Task.FALLBACK: NOW + 60_000}
    assert list(settlement.wishes) == [1]


@pytest.mark.parametrize(("blocked", "reason"), [(False, Reason.NO_CHANNEL), (True, Reason.BLOCKED)])
def test_vendor_only_without_a_vendor_is_undeliverable(blocked: bool, reason: Reason) -> None:
    settlement = Settlement()
    settlement.add_vendor_only(delivery(), now=NOW, net_ms=60_000, route=None, blocked=blocked)
    assert [(change.to, change.reason) for change in settlement.changes] == [(State.UNDELIVERABLE, reason)]


def delivery(*, again: bool = False) -> Delivery:
    envelope = sample(1, "d-1", app="courier", sent=NOW, expires=NOW + 60_000, push=b"{}")
    return Delivery(envelope, "d-1", again)
