from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_proto.python.backoff import Backoff
from sdk_proto.wire.frames import Reconnect
from tests.sdk_proto.vectors import load, names


@pytest.mark.parametrize("vector", load("backoff"), ids=names)
def test_delays_are_those_of_the_vectors(vector: Any) -> None:
    backoff = Backoff(lambda: float(vector["random"]))
    backoff.configure(Reconnect(**vector["reconnect"]))
    backoff.failures = vector["failures"]
    assert backoff.ceiling_s * 1000 == pytest.approx(vector["ceiling_ms"])
    assert vector["retry_after_ms"] + backoff.next_s() * 1000 == pytest.approx(vector["delay_ms"])


@given(
    st.builds(
        Reconnect, base_ms=st.integers(0, 2**32 - 1), max_ms=st.integers(0, 2**32 - 1), factor=st.floats(1, 1e300)
    ),
    st.integers(0, 500),
)
def test_whatever_a_server_wishes_a_delay_is_between_nothing_and_its_bound(settings: Reconnect, failures: int) -> None:
    backoff = Backoff(lambda: 0.999)
    backoff.configure(settings)
    before = 0.0
    for _ in range(failures):
        assert before <= backoff.ceiling_s <= settings.max_ms / 1000
        before = backoff.ceiling_s
        assert 0 <= backoff.next_s() <= before


def test_after_a_reset_it_starts_small_again() -> None:
    backoff = Backoff(lambda: 1.0)
    first = backoff.next_s()
    assert backoff.next_s() > first
    backoff.reset()
    assert backoff.next_s() == first
