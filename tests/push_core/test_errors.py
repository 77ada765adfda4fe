import pytest

from push_core.errors import CODES, DeadlineExceeded, Grade, Overloaded, TacoError, Unavailable, UserError

# docs/api.md, and what HTTP itself asks for (404, 405, 408, 500).
STATUSES = {400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 500, 503}


@pytest.mark.parametrize("code", CODES)
def test_every_code_says_what_happened_and_what_to_do(code: str) -> None:
    entry = CODES[code]
    assert entry.status in STATUSES
    assert entry.meaning.endswith(".")
    assert entry.remedy.endswith(".")
    assert code.replace("_", "").isalpha()


@pytest.mark.parametrize("code", CODES)
def test_a_repeat_is_advised_exactly_where_it_can_help(code: str) -> None:
    assert CODES[code].retry == (CODES[code].status in {408, 429, 500, 503})


@pytest.mark.parametrize(
    ("error", "status", "retry", "grade"),
    [
        (UserError("no", code="invalid", field="ttl"), 422, False, Grade.USER),
        (Unavailable("down"), 503, True, Grade.SYSTEM),
        (DeadlineExceeded("late"), 503, True, Grade.SYSTEM),
        (Overloaded("full"), 503, True, Grade.SYSTEM),
        (TacoError("a bug"), 500, True, Grade.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_carries_the_decision_of_its_reader(error: TacoError, status: int, retry: bool, grade: Grade) -> None:
    assert (error.status, error.retry, error.grade) == (status, retry, grade)
    assert str(error) == error.message


def test_what_may_pass_says_when_to_come_again() -> None:
    assert Unavailable("down").retry_after_s == 1.0
    assert Overloaded("full", retry_after_s=5).retry_after_s == 5
    assert UserError("no", code="invalid").retry_after_s is None
