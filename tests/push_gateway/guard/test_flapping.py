"""A device that drops again and again rests; one that a deploy moved does not; what is remembered has a bound."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_gateway.guard.flapping import OURS, Flapping
from sdk_proto.wire.close import CloseCode

KEY = ("courier", "d-1")


def flapping(size: int = 100) -> Flapping:
    return Flapping(15, 60.0, 300.0, size)


def test_the_fifteenth_drop_within_a_minute_begins_the_rest() -> None:
    flaps = flapping()
    assert [flaps.dropped(KEY, now * 4.0) for now in range(15)] == [False] * 14 + [True]
    assert flaps.left_s(KEY, 56.0) == 300.0
    assert flaps.left_s(KEY, 156.0) == 200.0
    assert flaps.left_s(KEY, 356.0) == 0.0


def test_fifteen_drops_in_a_little_more_than_a_minute_do_not() -> None:
    flaps = flapping()
    assert not any(flaps.dropped(KEY, now * 4.3) for now in range(100))


def test_after_the_rest_it_counts_from_nothing() -> None:
    flaps = flapping()
    for _ in range(15):
        flaps.dropped(KEY, 1.0)
    assert not any(flaps.dropped(KEY, 302.0) for _ in range(14))
    assert flaps.dropped(KEY, 302.0)


def test_the_same_device_of_another_app_is_another_device() -> None:
    flaps = flapping()
    for _ in range(15):
        flaps.dropped(KEY, 1.0)
    assert flaps.left_s(("eater", "d-1"), 1.0) == 0.0


def test_it_can_be_turned_off() -> None:
    flaps = Flapping(0, 60.0, 300.0, 100)
    assert not any(flaps.dropped(KEY, 1.0) for _ in range(100))
    assert len(flaps) == 0


def test_at_the_bound_the_oldest_is_forgotten_and_counted() -> None:
    flaps = flapping(size=10)
    for device in range(25):
        flaps.dropped(("courier", f"d-{device}"), 1.0)
    assert len(flaps) == 10
    assert flaps.forgotten == 15
    for device in range(100, 115):
        for _ in range(15):
            flaps.dropped(("courier", f"d-{device}"), 2.0)
    assert flaps.resting == 10
    assert flaps.left_s(("courier", "d-100"), 2.0) == 0.0
    assert flaps.left_s(("courier", "d-114"), 2.0) == 300.0


def test_nothing_is_remembered_once_it_is_over() -> None:
    flaps = flapping()
    for device in range(50):
        flaps.dropped(("courier", f"d-{device}"), 1.0)
    for _ in range(15):
        flaps.dropped(KEY, 2.0)
    flaps.sweep(63.0)
    assert len(flaps) == 1
    flaps.sweep(302.0)
    assert len(flaps) == 0


@pytest.mark.parametrize(
    "code", [CloseCode.SHUTTING_DOWN, CloseCode.MIGRATE, CloseCode.MAXIMUM_AGE, CloseCode.TOKEN_EXPIRED]
)
def test_what_we_did_is_no_drop(code: CloseCode) -> None:
    assert code in OURS


@pytest.mark.parametrize(
    "code", [CloseCode.HEARTBEAT_MISSED, CloseCode.TOO_SLOW, CloseCode.PINGING_TOO_FAST, CloseCode.REPLACED]
)
def test_what_the_device_or_its_network_did_is(code: CloseCode) -> None:
    assert code not in OURS


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 20.0)), max_size=200))
def test_a_rest_begins_exactly_when_so_many_drops_lie_within_the_window(steps: list[tuple[int, float]]) -> None:
    flaps = Flapping(4, 10.0, 25.0, 1_000)
    now = 0.0
    told: defaultdict[int, list[float]] = defaultdict(list)
    resting: dict[int, float] = {}
    for device, gap in steps:
        now += gap
        recent = [at for at in told[device] if at > now - 10.0] + [now]
        begins = len(recent) >= 4
        told[device] = [] if begins else recent
        assert flaps.dropped(("app", str(device)), now) is begins
        if begins:
            resting[device] = now + 25.0
        for each in range(4):
            assert flaps.left_s(("app", str(each)), now) == pytest.approx(max(0.0, resting.get(each, 0.0) - now))
    assert flaps.forgotten == 0
