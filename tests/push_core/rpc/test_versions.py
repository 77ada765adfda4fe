"""Versions as calls say them."""

import pytest

from push_core.rpc.versions import OLDEST, VERSION, Spoken


def test_a_release_understands_itself_and_says_so_in_a_header() -> None:
    assert VERSION >= OLDEST >= 1
    assert Spoken.parse(str(Spoken())) == Spoken(VERSION, OLDEST)
    assert Spoken().understands(Spoken())


@pytest.mark.parametrize("text", ["", "1", "/", "1/", "-1/1", "1/x", "1/1/1", "²/1", "9" * 20 + "/1"])
def test_a_header_that_makes_no_sense_says_no_version(text: str) -> None:
    assert Spoken.parse(text) is None
