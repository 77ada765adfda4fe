import doctest

import pytest

from push_core import dsn
from push_core.dsn import Dsn
from push_core.errors import ConfigError

SCHEMES = ("memory", "redis", "grpc")


def parse(text: str) -> Dsn:
    return Dsn.parse(text, "[stores] presence", SCHEMES)


def test_options_are_read_as_whole_numbers() -> None:
    assert parse("memory://?size=20&parked=3").numbers("size", "parked", "length") == {"size": 20, "parked": 3}
    assert parse("memory://").numbers("size") == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("redsi://h", "'redsi://h' must start with one of grpc://, memory://, redis://; did you mean redis://?"),
        ("memory", "'memory' must start with one of grpc://, memory://, redis://"),
        ("memory:", "'memory:' must start with one of grpc://, memory://, redis://; did you mean memory://?"),
        ("", "'' must start with one of grpc://, memory://, redis://"),
        ("mysql://taco:hunter2@db/x", "'mysql://taco:***@db/x' must start with one of grpc://, memory://, redis://"),
        ("redis://[::1", "'redis://[::1' is no DSN: Invalid IPv6 URL"),
        ("memory://?size", "'memory://?size' is no DSN: bad query field: 'size'"),
    ],
)
def test_what_is_no_dsn_of_ours_is_refused_naming_those_that_are(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) == f"[stores] presence: {reason}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("memory://?sise=5", "sise is not an option of memory://; did you mean size?"),
        ("memory://?size=many", "option size must be a whole number of at least 1, got 'many'"),
        ("memory://?size=0", "option size must be a whole number of at least 1, got '0'"),
        ("memory://?size=-1", "option size must be a whole number of at least 1, got '-1'"),
        ("memory://?size=", "option size must be a whole number of at least 1, got ''"),
    ],
)
def test_a_wrong_option_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text).numbers("size")
    assert str(caught.value) == f"[stores] presence: {reason}"


def test_options_that_are_text_are_left_to_their_reader() -> None:
    parsed = parse("grpc://0.0.0.0:7001?advertise=gw-1.internal&size=2")
    assert parsed.numbers("size", texts=("advertise",)) == {"size": 2}
    assert parsed.options["advertise"] == "gw-1.internal"


@pytest.mark.parametrize(
    ("text", "place"),
    [("grpc://127.0.0.1:0", "127.0.0.1:0"), ("grpc://[::1]:7001/", "[::1]:7001"), ("grpc://gw-1:80?size=1", "gw-1:80")],
)
def test_a_place_is_a_host_and_a_port(text: str, place: str) -> None:
    assert parse(text).host_and_port() == place


@pytest.mark.parametrize(
    "text", ["grpc://", "grpc://host", "grpc://:7001", "grpc://h:7001/x", "grpc://h:70000", "grpc://h:x"]
)
def test_a_place_without_a_host_or_a_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\[stores\] presence"):
        parse(text).host_and_port()


def test_a_password_that_was_not_encoded_is_hidden_all_the_same() -> None:
    for text in ("redis://:pa/ss@h", "redis://taco:p@ss@h:1/0", "redis://:a?b#c@h"):
        assert Dsn.hide_password(text).endswith(":***@" + text.rpartition("@")[2])


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(dsn).failed == 0


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("redis://h", [("h", 6379)]),
        ("redis://h:7000/2?size=3", [("h", 7000)]),
        ("redis://user:p%40ss@h1:1,h2,[::1]:3/x", [("h1", 1), ("h2", 6379), ("::1", 3)]),
    ],
)
def test_several_hosts_may_be_named(text: str, hosts: list[tuple[str, int]]) -> None:
    assert parse(text).hosts(6379) == hosts


@pytest.mark.parametrize(
    "text", ["redis://", "redis://h:0", "redis://h:65536", "redis://h1,,h2", "redis://u:p@:80", "redis://h:x"]
)
def test_what_is_no_host_is_refused_without_the_password(text: str) -> None:
    with pytest.raises(ConfigError, match=r"must look like redis://HOST:PORT") as caught:
        parse(text).hosts(6379)
    assert "u:p" not in str(caught.value)


def test_user_and_password_are_decoded() -> None:
    assert parse("redis://taco:p%40s%3As@h").login() == ("taco", "p@s:s")
    assert parse("redis://:secret@h1,h2").login() == ("", "secret")
    assert parse("redis://h").login() == ("", "")
