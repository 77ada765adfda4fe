"""Routes and names as they lie in Redis."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core.presence.port import Route
from push_core.presence.redis_layout import Layout, identity, lease_of, pack_route, unpack_route

LEASE = b"\x00\xff\x10\x20"
TEXT = st.characters(exclude_characters="\0", codec="utf-8")
NAMES = st.text(TEXT, min_size=1, max_size=128)
INSTALLS = st.just("") | st.text(string.hexdigits, min_size=32, max_size=32) | st.text(TEXT, max_size=128)


@given(
    epoch=st.integers(0, 2**32 - 1),
    install=INSTALLS,
    attempt=st.integers(0, 2**53),
    since=st.integers(0, 2**48 - 1),
)
def test_a_route_comes_back_as_it_was(epoch: int, install: str, attempt: int, since: int) -> None:
    route = Route(
        app="courier", device="d-1", incarnation="gw-1", epoch=epoch, install=install, attempt=attempt, since=since
    )
    value = pack_route(LEASE, route)
    assert unpack_route(value, "courier", "d-1", "gw-1") == route
    assert lease_of(value) == LEASE
    assert value.startswith(identity(LEASE, epoch))


def test_a_usual_route_takes_few_bytes() -> None:
    usual = Route(
        app="courier",
        device="6f1ed002-ab55-4acc-b3c5-2a1b8ee90b3d",
        incarnation="0123456789abcdef",
        epoch=70_000,
        install="0123456789abcdef0123456789abcdef",
        attempt=12,
        since=1_790_000_000_000,
    )
    _, name = Layout(b"taco", 64).place(usual.app, usual.device)
    assert (len(name), len(pack_route(LEASE, usual))) == (13, 32)


@given(NAMES, NAMES)
def test_a_name_fits_a_listpack_and_is_never_taken_for_a_hash_of_one(app: str, device: str) -> None:
    bucket, name = Layout(b"taco", 64).place(app, device)
    assert 0 <= bucket < 64
    assert len(name) <= 24
    assert name.startswith(b"\xff") == (len(f"{app}\0{device}".encode()) > 24)


def test_long_names_that_differ_at_their_end_are_kept_apart() -> None:
    layout = Layout(b"taco", 64)
    names = {layout.place("courier", f"{'x' * 100}{number}")[1] for number in range(1_000)}
    assert len(names) == 1_000


@pytest.mark.parametrize("buckets", [1, 64, 4_096])
def test_buckets_are_spread_over_the_tags(buckets: int) -> None:
    keys = Layout(b"p", buckets).keys
    assert len(set(keys)) == buckets
    assert len({key.split(b"{")[1].split(b"}")[0] for key in keys}) == min(buckets, 64)
