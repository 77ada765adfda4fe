"""An app's vendor is left alone after failures in a row."""

from dispatcher.fallback.breaker import Breaker

KEY = "webhook", "courier"


def test_failures_in_a_row_open_it_and_one_probe_goes_through_afterwards() -> None:
    breaker = Breaker(failures=3, open_s=10.0)
    for _ in range(2):
        breaker.failed(KEY, 100.0)
    assert breaker.blocked_s(KEY, 100.0) == 0
    breaker.failed(KEY, 100.0)
    assert breaker.blocked_s(KEY, 104.0) == 6.0
    assert breaker.blocked_s(KEY, 110.0) == 0, "the probe"
    assert breaker.blocked_s(KEY, 110.0) == 10.0, "the others wait for it"
    breaker.succeeded(KEY)
    assert breaker.blocked_s(KEY, 110.0) == 0


def test_a_success_between_failures_starts_the_count_anew() -> None:
    breaker = Breaker(failures=2, open_s=10.0)
    breaker.failed(KEY, 0.0)
    breaker.succeeded(KEY)
    breaker.failed(KEY, 0.0)
    assert breaker.blocked_s(KEY, 0.0) == 0


def test_one_apps_failures_are_not_anothers() -> None:
    breaker = Breaker(failures=1, open_s=10.0)
    breaker.failed(KEY, 0.0)
    assert breaker.blocked_s(("webhook", "customer"), 0.0) == 0


def test_it_remembers_a_bounded_number_of_apps() -> None:
    breaker = Breaker(failures=1, open_s=10.0, size=2)
    for app in ("a", "b", "c"):
        breaker.failed(("webhook", app), 0.0)
    assert [breaker.blocked_s(("webhook", app), 0.0) for app in ("a", "b", "c")] == [0.0, 10.0, 10.0]
