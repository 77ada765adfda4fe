import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core.backoff import Backoff


def test_the_ceiling_doubles_up_to_the_maximum() -> None:
    backoff = Backoff(0.5, 60.0, random=lambda: 1.0)
    assert [backoff.next_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


@given(st.floats(0.001, 10), st.floats(10, 1_000), st.floats(1, 10), st.integers(0, 200))
def test_every_delay_lies_between_nothing_and_the_ceiling(
    base_s: float, max_s: float, factor: float, attempts: int
) -> None:
    backoff = Backoff(base_s, max_s, factor)
    for _ in range(attempts):
        ceiling = backoff.ceiling_s
        assert 0 <= backoff.next_s() < ceiling <= max_s


def test_years_of_attempts_overflow_nothing() -> None:
    backoff = Backoff(0.5, 60.0, factor=10.0, random=lambda: 1.0)
    backoff.attempt = 10_000_000
    assert backoff.next_s() == 60.0


def test_after_a_success_it_starts_small_again() -> None:
    backoff = Backoff(0.5, 60.0, random=lambda: 1.0)
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0.5


@pytest.mark.parametrize("drawn", [0.0, 0.25, 0.999])
def test_jitter_is_full(drawn: float) -> None:
    assert Backoff(1.0, 60.0, random=lambda: drawn).next_s() == drawn
