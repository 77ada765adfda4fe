"""What an answer of the server leaves known about a transaction."""

import pymysql
import pytest

from push_core.errors import DeadlineExceeded, Unavailable
from push_core.sql.errors import translate
from push_core.sql.mysql.errors import judge


@pytest.mark.parametrize("number", [1317, 1969, 3024])
def test_a_commit_that_was_interrupted_may_have_been_made(number: int) -> None:
    verdict = judge(pymysql.err.OperationalError(number, "interrupted"))
    assert isinstance(translate(verdict, "the store", committing=True), DeadlineExceeded)
    before = translate(verdict, "the store")
    assert isinstance(before, Unavailable)
    assert not isinstance(before, DeadlineExceeded)
