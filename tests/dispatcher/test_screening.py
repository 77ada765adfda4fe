"""The first look at a batch, as plain values."""

import msgspec
import pytest

from dispatcher.delivery import Delivery
from dispatcher.screening import screen, split_expired, split_repeats
from push_core.envelope import Work
from push_core.lifecycle import Reason, State
from push_core.messages.port import Standing
from tests.dispatcher.test_settle import NOW, delivery

ENVELOPE = delivery().envelope


def test_a_young_envelope_is_not_asked_about() -> None:
    screened = screen([ENVELOPE], redelivered=False, now=NOW + 900, recall_check_after_ms=1_000)
    assert screened.ask_recalled == []
    assert [one.device for one in screened.named] == ["d-1"]


def test_an_old_envelope_is_checked_for_a_recall() -> None:
    screened = screen([ENVELOPE], redelivered=False, now=NOW + 1_001, recall_check_after_ms=1_000)
    assert screened.ask_recalled == [1]


@pytest.mark.parametrize(("redelivered", "repeat"), [(True, False), (False, True)])
def test_a_repeat_is_marked_and_its_row_says_whether_it_was_recalled(redelivered: bool, repeat: bool) -> None:
    envelope = msgspec.structs.replace(ENVELOPE, repeat=repeat)
    screened = screen([envelope], redelivered=redelivered, now=NOW + 5_000, recall_check_after_ms=1_000)
    assert screened.ask_recalled == []
    assert [one.again for one in screened.named] == [True]


def test_recalls_and_aliases_go_their_own_ways() -> None:
    recall = msgspec.structs.replace(ENVELOPE, work=Work.RECALL)
    alias = msgspec.structs.replace(ENVELOPE, devices=[], alias="u-1")
    screened = screen([recall, alias], redelivered=False, now=NOW, recall_check_after_ms=1_000)
    assert (screened.recalls, screened.aliases, screened.named) == ([recall], [alias], [])


def test_an_alias_that_was_expanded_before_goes_to_the_devices_it_names() -> None:
    named = msgspec.structs.replace(ENVELOPE, alias="u-1", devices=["d-2"])
    screened = screen([named], redelivered=False, now=NOW, recall_check_after_ms=1_000)
    assert [one.device for one in screened.named] == ["d-2"]


@pytest.mark.parametrize(("live_only", "reason"), [(False, Reason.TTL), (True, Reason.NOT_CONNECTED)])
def test_what_is_past_its_time_ends(live_only: bool, reason: Reason) -> None:
    late = Delivery(msgspec.structs.replace(ENVELOPE, live_only=live_only), "d-1")
    fresh, ends = split_expired([late], ENVELOPE.expires)
    assert fresh == []
    assert [(end.to, end.reason) for end in ends] == [(State.EXPIRED, reason)]
    assert split_expired([late], ENVELOPE.expires - 1) == ([late], [])


@pytest.mark.parametrize(
    ("standing", "handled", "stored"),
    [
        (Standing(State.ACCEPTED), True, False),
        (Standing(State.SENDING), True, False),
        (Standing(State.WAITING), True, False),
        (Standing(State.WAITING, in_inbox=True), False, True),
        (Standing(State.VENDOR, vendor="stub"), False, False),
        (Standing(State.VENDOR, vendor="stub", in_inbox=True), False, True),
        (Standing(State.DELIVERED), False, False),
        (Standing(State.EXPIRED), False, False),
        (Standing(State.ACCEPTED, recalled=True), False, False),
        (None, False, False),
    ],
)
def test_only_what_is_open_and_nowhere_is_handled_again(standing: Standing | None, handled: bool, stored: bool) -> None:
    repeat = delivery(again=True)
    handle, in_inbox = split_repeats([repeat], [standing])
    assert (handle == [repeat], in_inbox == [repeat]) == (handled, stored)
