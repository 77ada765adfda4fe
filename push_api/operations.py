"""The methods of the API as a table: what requests are matched by, and what the OpenAPI document is made from.

Paths are matched as they were sent (`raw_path`) and decoded piece by piece, so that a device's name may hold any character, `/`
and `:` included, when it is percent-encoded. A name that ends in `:disconnect`, `:block` or another action needs its colon
encoded: as it stands it is the action.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from push_api import models
from push_core.errors import UserError


@dataclass(frozen=True, slots=True)
class Operation:
    """`name` is the method of both doors; `status` its good answer; `refusals` the codes it may answer besides those of every method.
    `sends`: its messages are counted, not the request."""

    name: str
    method: str
    path: str
    summary: str
    status: int = 200
    request: Any = None
    response: Any = None
    refusals: tuple[str, ...] = ()
    needs_key: bool = True
    sends: bool = False
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


_BODY = ("bad_json", "request_timeout", "too_large", "invalid", "unknown_field", "missing_field")
_DEVICE = "/v1/devices/{device}"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "send",
        "POST",
        "/v1/messages",
        "Push one message. 202 means that it is durable.",
        202,
        models.Message,
        models.Accepted,
        (*_BODY, "not_available", "too_many", "idempotency_conflict"),
        sends=True,
        headers=("idempotency-key",),
    ),
    Operation(
        "send_batch",
        "POST",
        "/v1/messages:batch",
        "Push up to 500 messages; a bad one fails only itself.",
        202,
        models.Batch,
        models.Results,
        (*_BODY, "too_many"),
        sends=True,
    ),
    Operation(
        "get_message",
        "GET",
        "/v1/messages/{id}",
        "Where a message is.",
        response=models.MessageStatus,
        refusals=("not_found", "invalid", "unknown_field"),
        query=("after", "limit"),
    ),
    Operation(
        "recall",
        "DELETE",
        "/v1/messages/{id}",
        "Take a message back: stop what is not sent, and tell the devices that may have it.",
        response=models.MessageStatus,
        refusals=("not_found",),
    ),
    Operation(
        "put_device",
        "PUT",
        _DEVICE,
        "Register a device, or replace its registration.",
        request=models.Registration,
        response=models.DeviceRecord,
        refusals=(*_BODY, "too_many"),
    ),
    Operation(
        "get_device",
        "GET",
        _DEVICE,
        "A device's registration.",
        response=models.DeviceRecord,
        refusals=("not_found", "invalid"),
    ),
    Operation(
        "forget_device",
        "DELETE",
        _DEVICE,
        "Forget a device's registration, and its block.",
        204,
        refusals=("not_found", "invalid"),
    ),
    Operation(
        "get_presence",
        "GET",
        f"{_DEVICE}/presence",
        "Whether a device is connected.",
        response=models.PresenceStatus,
        refusals=("invalid",),
    ),
    Operation(
        "disconnect",
        "POST",
        f"{_DEVICE}:disconnect",
        "End a device's session; it may connect again.",
        response=models.Disconnected,
        refusals=("invalid",),
    ),
    Operation(
        "block",
        "POST",
        f"{_DEVICE}:block",
        "End a device's session and refuse it until it is unblocked.",
        response=models.DeviceRecord,
        refusals=("invalid",),
    ),
    Operation(
        "unblock",
        "POST",
        f"{_DEVICE}:unblock",
        "Let a blocked device connect again.",
        response=models.DeviceRecord,
        refusals=("not_found", "invalid"),
    ),
    Operation(
        "subscribe",
        "POST",
        f"{_DEVICE}:subscribe",
        "Subscribe a device to topics, now and with each later session.",
        request=models.TopicList,
        response=models.DeviceRecord,
        refusals=(*_BODY, "too_many"),
    ),
    Operation(
        "unsubscribe",
        "POST",
        f"{_DEVICE}:unsubscribe",
        "Undo it.",
        request=models.TopicList,
        response=models.DeviceRecord,
        refusals=(*_BODY, "too_many", "not_found"),
    ),
    Operation("healthz", "GET", "/healthz", "Whether the process lives.", response=models.Health, needs_key=False),
    Operation(
        "readyz", "GET", "/readyz", "Whether it can accept messages now.", response=models.Health, needs_key=False
    ),
    Operation("openapi", "GET", "/openapi.json", "This document.", response=dict[str, Any], needs_key=False),
)

_BY_PATH: dict[str, dict[str, Operation]] = {}
for _operation in OPERATIONS:
    _BY_PATH.setdefault(_operation.path, {})[_operation.method] = _operation
_FIXED = {path.encode(): methods for path, methods in _BY_PATH.items() if "{" not in path}
_ACTIONS = {path.rpartition(":")[2].encode() for path in _BY_PATH if path.startswith(f"{_DEVICE}:")}
_MESSAGES, _DEVICES = b"/v1/messages/", b"/v1/devices/"


def match(method: str, raw_path: bytes) -> tuple[Operation, str] | None:
    """The operation for a request and the name in its path ("" where it has none); None for a path that is not ours.

    HEAD counts as GET (RFC 9110 §9.3.2). Raises UserError: `bad_request` for a name that is not UTF-8, NotAllowed for another method.
    """
    if (fixed := _FIXED.get(raw_path)) is not None:
        return _by_method(fixed, method), ""
    if raw_path.startswith(_MESSAGES):
        template, name = "/v1/messages/{id}", raw_path[len(_MESSAGES) :]
    elif raw_path.startswith(_DEVICES):
        name, slash, rest = raw_path[len(_DEVICES) :].partition(b"/")
        template = f"{_DEVICE}/{rest.decode('latin-1')}" if slash else _DEVICE
        front, _, action = name.rpartition(b":")
        if not slash and action in _ACTIONS:
            name, template = front, f"{_DEVICE}:{action.decode()}"
    else:
        return None
    methods = _BY_PATH.get(template)
    if not name or b"/" in name or methods is None:
        return None
    return _by_method(methods, method), _decoded(name)


class NotAllowed(UserError):
    """405, with the methods that the path has."""

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(f"this path has no {method}; it has {allow}", code="method_not_allowed")
        self.allow = allow


def _by_method(methods: dict[str, Operation], method: str) -> Operation:
    found = methods.get("GET" if method == "HEAD" else method)
    if found is None:
        raise NotAllowed(method[:20], ", ".join((*methods, "HEAD") if "GET" in methods else methods))
    return found


def _decoded(name: bytes) -> str:
    try:
        return (unquote_to_bytes(name) if b"%" in name else name).decode()
    except UnicodeDecodeError:
        raise UserError("the path is not UTF-8", code="bad_request") from None
