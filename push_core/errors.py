"""Errors that carry the decision their reader must make: whose fault, whether to repeat, what to change.

`CODES` is the one list of error codes that callers can see; `docs/errors.md` is made from it. Adapters translate their
driver's exceptions into the classes below, so that no program ever catches an exception of a driver.
"""

import enum
from dataclasses import dataclass


class Grade(enum.StrEnum):
    """Who must act. Only `system` and `unknown` raise alarms."""

    USER = "user"
    SYSTEM = "system"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Code:
    """One error code of the push API: its HTTP status, whether a repeat can help, and what the caller does about it."""

    status: int
    retry: bool
    meaning: str
    remedy: str


CODES: dict[str, Code] = {
    "bad_json": Code(400, False, "The body is not JSON.", "Send a JSON object, UTF-8 encoded."),
    "bad_request": Code(
        400, False, "The request's line, headers or path can't be read.", "Correct what `message` names."
    ),
    "unauthorized": Code(
        401, False, "No key, or a key that is not known.", "Send `Authorization: Bearer <app>.<secret>`."
    ),
    "app_disabled": Code(403, False, "The app is disabled.", "Ask the operator to enable it."),
    "forbidden": Code(403, False, "The key may not do this.", "Use a key that may."),
    "not_found": Code(404, False, "No such thing in this app.", "Check the id and the app the key belongs to."),
    "method_not_allowed": Code(405, False, "The path exists, the method does not.", "See /openapi.json."),
    "request_timeout": Code(408, True, "The request did not arrive in time; nothing was done.", "Send it again."),
    "idempotency_conflict": Code(
        409, False, "The idempotency key was used for another message.", "Use a new key for a new message."
    ),
    "too_large": Code(413, False, "Larger than the limit.", "Send less; `message` names the limit."),
    "invalid": Code(422, False, "A field has a wrong type or value.", "Correct the field that `field` names."),
    "unknown_field": Code(422, False, "A field that no message has.", "Use the name that `message` proposes."),
    "missing_field": Code(422, False, "A field that is needed is not there.", "Add the field that `field` names."),
    "not_available": Code(422, False, "Part of the contract, not offered by this server.", "See the release notes."),
    "too_many": Code(422, False, "More items than one call takes.", "Split the call."),
    "rate_limited": Code(
        429,
        True,
        "Over the rate of the app or of the caller's address, which `message` names; nothing was done.",
        "Wait for `Retry-After` seconds.",
    ),
    "internal": Code(
        500,
        True,
        "A fault of the server; whether the message was accepted is unknown.",
        "Repeat with the same idempotency key.",
    ),
    "unavailable": Code(
        503,
        True,
        "A store or queue is down or full; whether the message was accepted is unknown.",
        "Repeat after `Retry-After` seconds with the same idempotency key.",
    ),
    "overloaded": Code(
        503, True, "Too much is under way.", "Repeat after `Retry-After` seconds with the same idempotency key."
    ),
}


class TacoError(Exception):
    """Base of every error we raise on purpose.

    `code` is a key of CODES; `field` is the path of the field at fault (`messages[3].ttl`) or None;
    `retry_after_s` is set where a repeat is worth while after a known time.
    """

    grade = Grade.UNKNOWN

    def __init__(
        self, message: str, *, code: str = "internal", field: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field
        self.retry_after_s = retry_after_s

    @property
    def status(self) -> int:
        return CODES[self.code].status

    @property
    def retry(self) -> bool:
        return CODES[self.code].retry


class UserError(TacoError):
    """The caller must change something; raises no alarm."""

    grade = Grade.USER


class Unavailable(TacoError):
    """A neighbour (store, queue, peer) did not do what was asked, or it is not known whether it did; repeat later."""

    grade = Grade.SYSTEM

    def __init__(
        self, message: str, *, code: str = "unavailable", field: str | None = None, retry_after_s: float | None = 1.0
    ) -> None:
        super().__init__(message, code=code, field=field, retry_after_s=retry_after_s)


class DeadlineExceeded(Unavailable):
    """No answer in time: the outcome is unknown."""


class Overloaded(Unavailable):
    """A bound was reached; nothing was done."""

    def __init__(self, message: str, *, retry_after_s: float | None = 1.0) -> None:
        super().__init__(message, code="overloaded", retry_after_s=retry_after_s)


class ConfigError(Exception):
    """A setting that cannot be used. The message names the file or variable, the key and the reason; exit status 2."""
