import json

import grpc

from push_api.errors import GRPC_STATUS, body_of, grpc_status, problem_of, retry_after_s
from push_core.errors import CODES, DeadlineExceeded, Overloaded, UserError


def test_every_code_has_a_grpc_status() -> None:
    assert set(GRPC_STATUS) == set(CODES)
    for status in GRPC_STATUS.values():
        assert status in grpc.StatusCode.__members__


def test_codes_that_a_repeat_can_help_have_a_status_that_clients_repeat() -> None:
    repeated = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL"}
    for code, meaning in CODES.items():
        assert (GRPC_STATUS[code] in repeated) == meaning.retry


def test_an_error_of_ours_says_what_it_knows() -> None:
    problem = problem_of(UserError("no", code="invalid", field="ttl"))
    assert (problem.code, problem.message, problem.field, problem.retry) == ("invalid", "no", "ttl", False)


def test_any_other_error_says_nothing_of_itself() -> None:
    body = json.loads(body_of(KeyError("hunter2")))
    assert (body["error"]["code"], body["error"]["retry"]) == ("internal", True)
    assert "hunter2" not in str(body)
    assert grpc_status(KeyError("hunter2")) == "INTERNAL"


def test_a_503_always_says_when_to_come_back() -> None:
    assert retry_after_s(Overloaded("full", retry_after_s=None)) == 1
    assert retry_after_s(Overloaded("full", retry_after_s=0.2)) == 1
    assert retry_after_s(DeadlineExceeded("late", retry_after_s=7.4)) == 8
    assert retry_after_s(UserError("no", code="invalid")) is None
    assert retry_after_s(KeyError("x")) is None
