import pytest

from push_core.limits.addresses import AddressCounts, AddressLimits, network_of
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from tests.support.hand_clock import HandClock


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("2001:db8:1:2::9", "2001:0db8:0001:0002"),
        ("2001:db8:1:3::9", "2001:0db8:0001:0003"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_an_address_counts_by_what_one_caller_has(address: str, network: str) -> None:
    assert network_of(address) == network


def test_each_address_has_a_bucket_of_its_own() -> None:
    clock = HandClock()
    limits = AddressLimits(2.0, 4, monotonic=clock.monotonic)
    assert [limits.take("192.0.2.7") for _ in range(4)] == [0.0] * 4
    assert limits.take("192.0.2.7") == pytest.approx(0.5)
    assert limits.take("192.0.2.8") == 0.0
    clock.advance(0.5)
    assert limits.take("192.0.2.7") == 0.0


def test_without_a_burst_a_second_of_the_rate_comes_at_once() -> None:
    limits = AddressLimits(3.0, 0, monotonic=HandClock().monotonic)
    assert [limits.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_a_rate_of_0_is_none() -> None:
    limits = AddressLimits(0.0, 0)
    assert [limits.take("a") for _ in range(1_000)] == [0.0] * 1_000


def test_what_an_address_has_open_is_counted_and_leaves_nothing_behind() -> None:
    metrics = MemoryMetrics()
    counts = AddressCounts(2, "connections", metrics)
    assert [counts.enter("a") for _ in range(3)] == [True, True, False]
    assert counts.enter("b")
    assert metrics.counted(Metric.LIMITED, limit="connections") == 1
    for _ in range(2):
        counts.leave("a")
    assert counts.enter("a")
    for address in ("a", "a", "b"):
        counts.leave(address)
    assert len(counts) == 0


def test_a_limit_of_0_counts_nothing() -> None:
    counts = AddressCounts(0, "connections", MemoryMetrics())
    assert all(counts.enter("a") for _ in range(1_000))
    counts.leave("a")
    assert len(counts) == 0
