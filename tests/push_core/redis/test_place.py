"""DSNs of Redis."""

import pytest

from push_core.dsn import Dsn
from push_core.errors import ConfigError
from push_core.redis.place import SCHEMES, Place


def place(text: str, *own: str) -> Place:
    return Place.of(Dsn.parse(text, "[stores] presence", SCHEMES), *own)[0]


def test_one_server() -> None:
    plain = place("redis://cache")
    assert (plain.kind, plain.hosts, plain.db, plain.password, plain.prefix) == (
        "single",
        (("cache", 6379),),
        0,
        None,
        "taco",
    )
    full = place("redis://taco:p%40ss%2F1@[::1]:7000/3?prefix=a.b&timeout_ms=250&connections=2")
    assert (full.hosts, full.db, full.user, full.password) == ((("::1", 7000),), 3, "taco", "p@ss/1")
    assert (full.prefix, full.timeout_s, full.connections, full.tls) == ("a.b", 0.25, 2, False)
    assert place("rediss://cache?ca=/etc/ca.pem").ca == "/etc/ca.pem"
    assert place("rediss://cache").tls


def test_sentinels_and_their_service() -> None:
    found = place("redis+sentinel://:secret@s-1:26380,s-2/mymaster/2?sentinel_auth=same")
    assert (found.kind, found.hosts) == ("sentinel", (("s-1", 26380), ("s-2", 26379)))
    assert (found.service, found.db, found.sentinel_auth) == ("mymaster", 2, True)
    assert not place("rediss+sentinel://s-1/mymaster").sentinel_auth


def test_a_cluster_by_some_of_its_nodes() -> None:
    found = place("redis+cluster://:secret@n-1:7001,n-2:7002/")
    assert (found.kind, found.hosts, found.password) == ("cluster", (("n-1", 7001), ("n-2", 7002)), "secret")


def test_options_of_the_adapter_are_handed_back() -> None:
    _, options = Place.of(Dsn.parse("redis://cache?buckets=64&connections=1", "x", SCHEMES), "buckets")
    assert options == {"buckets": 64}


def test_the_password_is_in_no_representation() -> None:
    assert "secret" not in repr(place("redis://:secret@cache"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("redis://", "must look like redis://HOST:PORT"),
        ("redis://a:1,b:2/0", "several hosts need redis+sentinel:// or redis+cluster://"),
        ("redis://a/x", "the database must be a number"),
        ("redis://a/1/2", "the database must be a number"),
        ("redis://a?timeout=1", "timeout is not an option of redis://; did you mean timeout_ms?"),
        ("redis://a?timeout_ms=0", "option timeout_ms must be a whole number of at least 1"),
        ("redis://a?prefix={x}", "option prefix must be 1 to 32 letters, digits or . _ : -"),
        ("redis://a?prefix=", "option prefix must be"),
        ("redis://a?buckets=7", "buckets is not an option of redis://"),
        ("redis+sentinel://a:1,b:2", "must name the service: redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"),
        ("redis+sentinel://a:1/x?sentinel_auth=yes", "option sentinel_auth must be none or same"),
        ("redis+cluster://a:1,b:2/1", "a Cluster has database 0 only"),
        ("redis://:pa/ss@a:1", "in a password are written %2F"),
        ("redis://a:x", "must look like redis://HOST:PORT"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_way_out(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place(text)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("[stores] presence")
    assert "pa/ss" not in str(caught.value)
