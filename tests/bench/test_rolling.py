"""What a rolling restart is judged by."""

from dataclasses import replace

from bench.rolling import Figures, Load
from bench.sdk_crowd import Phone, most_in_a_second
from sdk_proto.python.status import Status

WELL = Figures(
    gateways=3,
    sessions=10,
    restarts=3,
    accepted=100,
    lost=0,
    duplicates=0,
    refused=0,
    reconnects=20,
    reconnects_per_s_max=5,
    reconnects_per_s_set=5,
    without_gap=20,
    offline_s_max=0.0,
    closed_4100=0,
    restart_s_max=1.0,
    p99_ms=1.0,
    client_lag_ms_max=1.0,
)


def test_each_promise_that_is_broken_is_named() -> None:
    assert WELL.broken == []
    assert replace(WELL, lost=1).broken == ["1 lost"]
    assert replace(WELL, duplicates=2).broken == ["2 twice on a screen"]
    assert replace(WELL, reconnects_per_s_max=6).broken == ["6 reconnects in a second, 5 set"]
    late = replace(WELL, reconnects_per_s_max=6, client_lag_ms_max=900.0)
    assert (late.rate_counts, late.broken) == (False, [])


def test_the_worst_second_is_found_wherever_it_begins() -> None:
    assert most_in_a_second([]) == 0
    assert most_in_a_second([0.0, 1.0, 2.0]) == 1
    assert most_in_a_second([0.6, 0.7, 1.5, 1.59, 1.61]) == 4


def test_a_phone_is_offline_from_the_end_of_a_connection_to_the_next_welcome() -> None:
    phone = Phone("d")
    for state, code in (
        ("connecting", None),
        ("online", None),
        ("online", None),
        ("connecting", 4100),
        ("waiting", 4100),
    ):
        phone.status(Status(state, code=code))
    assert (len(phone.welcomes), phone.codes, phone.offline_s) == (2, [4100], 0.0)
    phone.status(Status("online"))
    assert phone.offline_s == phone.longest_s > 0.0


def test_a_gateway_has_time_for_all_devices_when_its_turn_comes() -> None:
    load = Load(sessions=100, per_second=10)
    assert load.drain_s > 100 / 10 * 1.1
