import re

import pytest

from push_api.traceparent import accept_or_make

VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_valid_one_is_taken_as_it_is() -> None:
    assert accept_or_make(VALID) == VALID


def test_one_of_a_later_version_is_cut_to_what_is_known() -> None:
    later = VALID.replace("00-", "cc-", 1)
    assert accept_or_make(later) == later
    assert accept_or_make(f"{later}-more-of-it") == later


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        VALID + "-more",  # version 00 has exactly four parts
        VALID + "\n",
        VALID.upper(),
        VALID.replace("00-", "ff-", 1),
        VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        VALID.replace("00f067aa0ba902b7", "0" * 16),
        VALID[:-1],
        "x" * 55,
    ],
)
def test_a_bad_one_is_replaced_by_a_new_one(bad: str | None) -> None:
    made = accept_or_make(bad)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", made)
    assert made != accept_or_make(bad)
