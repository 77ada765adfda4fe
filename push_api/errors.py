"""One shape for every refusal, and what each code is called over gRPC's door. Pure.

Errors of ours carry code, field and retry; anything else is `internal`, said without detail.
"""

from math import ceil

from msgspec import json

from push_api.models import Problem, Refused
from push_core.errors import TacoError

_encode = json.Encoder().encode


def problem_of(error: BaseException) -> Problem:
    if isinstance(error, TacoError):
        return Problem(code=error.code, message=error.message, field=error.field, retry=error.retry)
    return Problem(
        code="internal",
        message="a fault of the server; whether the request was carried out is unknown",
        field=None,
        retry=True,
    )


def body_of(error: BaseException) -> bytes:
    return _encode(Refused(problem_of(error)))


def retry_after_s(error: BaseException) -> int | None:
    """Whole seconds for `Retry-After`: always with 429 and 503, at least 1."""
    if not isinstance(error, TacoError):
        return None
    if error.status not in (429, 503) and error.retry_after_s is None:
        return None
    return max(1, ceil(error.retry_after_s or 1.0))


# By google.rpc.Code: what generic clients, proxies and retry policies understand. The exact code travels in the trailing metadata.
GRPC_STATUS: dict[str, str] = {
    "bad_json": "INVALID_ARGUMENT",
    "bad_request": "INVALID_ARGUMENT",
    "unauthorized": "UNAUTHENTICATED",
    "app_disabled": "PERMISSION_DENIED",
    "forbidden": "PERMISSION_DENIED",
    "not_found": "NOT_FOUND",
    "method_not_allowed": "UNIMPLEMENTED",
    "request_timeout": "DEADLINE_EXCEEDED",
    "idempotency_conflict": "ALREADY_EXISTS",
    "too_large": "INVALID_ARGUMENT",  # not RESOURCE_EXHAUSTED: clients repeat that one
    "invalid": "INVALID_ARGUMENT",
    "unknown_field": "INVALID_ARGUMENT",
    "missing_field": "INVALID_ARGUMENT",
    "not_available": "UNIMPLEMENTED",
    "too_many": "INVALID_ARGUMENT",
    "rate_limited": "RESOURCE_EXHAUSTED",
    "internal": "INTERNAL",
    "unavailable": "UNAVAILABLE",
    "overloaded": "UNAVAILABLE",
}


def grpc_status(error: BaseException) -> str:
    return GRPC_STATUS.get(problem_of(error).code, "UNKNOWN")
