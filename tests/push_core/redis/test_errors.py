"""What a Redis said, as what programs must decide by."""

import pytest
from redis import exceptions as driver
from redis._parsers.base import BaseParser

from push_core.errors import DeadlineExceeded
from push_core.redis import errors

WHO = "[stores] presence: Redis at cache:6379"


def said(line: str) -> Exception:
    """As the driver makes it of what the server wrote."""
    made = BaseParser.parse_error(line)  # type: ignore[no-untyped-call]
    assert isinstance(made, Exception)
    return made


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("NOAUTH Authentication required.", "asks for a password"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "refuses the user or password"),
        ("ERR invalid password", "refuses the user or password"),
        ("ERR Client sent AUTH, but no password is set", "has no password, but the DSN gives one"),
        (
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            "has no password, but the DSN gives one",
        ),
        ("NOPERM this user has no permissions to run the 'evalsha' command", "does not permit its user"),
        ("LOADING Redis is loading the dataset in memory", "is loading its data"),
        ("READONLY You can't write against a read only replica.", "is a read-only replica"),
        ("MASTERDOWN Link with MASTER is down", "is a replica without its master"),
        ("NOREPLICAS Not enough good replicas to write.", "has too few replicas"),
        ("CLUSTERDOWN The cluster is down", "belongs to a Cluster that is down"),
        ("MOVED 3999 127.0.0.1:6381", "use redis+cluster://"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "raise maxmemory"),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist", "can't save"),
        ("BUSY Redis is busy running a script.", "is busy with a script"),
        ("ERR max number of clients reached", "raise maxclients"),
        ("ERR DB index is out of range", "does not have the database"),
        ("ERR SELECT is not allowed in cluster mode", "use redis+cluster://"),
        ("ERR This instance has cluster support disabled", "use redis://"),
        ("LAYOUT is 1 64", "the same option `buckets`"),
    ],
)
def test_what_a_server_refuses_was_not_done(line: str, sentence: str) -> None:
    for made in (
        errors.answered(WHO, said(line)),
        errors.unreachable(WHO, said(line)),
        errors.lost(WHO, said(line)),
    ):
        assert not isinstance(made, DeadlineExceeded)
        assert made.message.startswith(f"{WHO} ")
        assert sentence in made.message


def test_an_error_nobody_knows_leaves_the_outcome_open() -> None:
    made = errors.answered(WHO, said("ERR user_script:3: attempt to index a nil value\nmore"))
    assert isinstance(made, DeadlineExceeded)
    assert made.message == f"{WHO} answered with an error: user_script:3: attempt to index a nil value"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('10.0.0.1', 6379)"), "connection refused"),
        (driver.TimeoutError("Timeout connecting to server"), "no answer in time"),
        (TimeoutError(), "no answer in time"),
        (driver.ConnectionError("Connection closed by server."), "the connection was closed"),
    ],
)
def test_before_anything_was_sent_nothing_was_done(error: Exception, why: str) -> None:
    made = errors.unreachable(WHO, error)
    assert not isinstance(made, DeadlineExceeded)
    assert made.message == f"{WHO} cannot be reached: {why}"


def test_the_reason_below_the_drivers_own_words_is_told() -> None:
    error = driver.ConnectionError("Error 111 connecting to cache:6379. Connect call failed.")
    error.__cause__ = ConnectionRefusedError(111, "refused")
    assert errors.unreachable(WHO, error).message.endswith("cannot be reached: connection refused")


def test_after_something_was_sent_the_outcome_is_unknown() -> None:
    assert isinstance(errors.lost(WHO, driver.ConnectionError("Connection closed by server.")), DeadlineExceeded)
    assert errors.lost(WHO, driver.ConnectionError("x")).message == f"{WHO} was lost before it answered"
    assert errors.lost(WHO, TimeoutError()).message == f"{WHO} did not answer in time"
