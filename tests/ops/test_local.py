"""What `taco up` composes, where it needs no process; the rest is in tests/e2e/test_up.py."""

import pytest

from ops.local import STOP_ALL_S, STOP_API_S, STOP_DISPATCHER_S, STOP_GATEWAY_S, from_here


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("ws://[::]:8081/v1/connect", "ws://[::1]:8081/v1/connect"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://10.0.0.0:1", "http://10.0.0.0:1"),
    ],
)
def test_what_listens_everywhere_is_printed_with_an_address_that_can_be_opened(url: str, expected: str) -> None:
    assert from_here(url) == expected


def test_the_programs_shares_fit_into_the_time_in_which_all_must_end() -> None:
    assert STOP_API_S + STOP_GATEWAY_S + STOP_DISPATCHER_S < STOP_ALL_S < 5.0
