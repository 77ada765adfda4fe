"""The OpenAPI 3.1 document, made from the models and the table of operations: it can't say what the code doesn't do.

Pure. What types don't tell JSON Schema (exactly one target, a notification needs something to show) is added here by hand, and held against
the running server by a test.
"""

from typing import Any

import msgspec

from push_api import models
from push_api.operations import OPERATIONS, Operation
from push_core.errors import CODES
from push_core.lifecycle import State
from push_core.models import Channels, Kind, Priority
from push_core.topics import MAX_TOPIC

_REF = "#/components/schemas/{name}"
_ALWAYS = ("bad_request", "internal", "overloaded")
_WITH_KEY = ("unauthorized", "app_disabled", "rate_limited", "unavailable")
_STATUS = {200: "OK", 202: "Durable", 204: "Done"}
_TARGETS = {"device": "string", "devices": "array", "alias": "string"}
_NOT_OFFERED = ("aliases", "tags")
_LIVE: dict[str, dict[str, Any]] = {
    "topic": {"type": "string", "pattern": rf"^[A-Za-z0-9_.:/-]{{1,{MAX_TOPIC}}}$"},
    "all": {"const": True},
}

_EXAMPLES: dict[str, dict[str, Any]] = {
    "send": {
        "notification": {
            "target": {"device": "phone-1"},
            "title": "Order 9",
            "body": "Your courier is at the door",
            "data": {"order": 9},
            "priority": "urgent",
            "collapse": "order-9",
            "idempotency_key": "order-9-arrived",
        },
        "passthrough": {"target": {"alias": "user-7"}, "kind": "passthrough", "data": {"sync": True}, "ttl": 600},
        "live": {"target": {"topic": "city-021"}, "title": "Rain ahead", "ttl": 0},
    },
    "send_batch": {
        "two": {
            "messages": [
                {"target": {"device": "phone-1"}, "title": "Shift starts at 10"},
                {"target": {"devices": ["phone-2", "phone-3"]}, "title": "Shift starts at 11", "channels": "long"},
            ]
        }
    },
    "put_device": {
        "phone": {
            "alias": "user-7",
            "tags": ["city-021"],
            "platform": "ios",
            "vendor_tokens": {"webhook": "user-7-ios"},
            "locale": "de-AT",
            "time_zone": "Europe/Vienna",
            "app_version": "4.2.0",
        }
    },
    "subscribe": {"topics": {"topics": ["city-021"]}},
    "unsubscribe": {"topics": {"topics": ["city-021"]}},
}


_STATES = (
    "Open: `accepted` (on disk), `sending` (written to the device, not acknowledged yet), `waiting` (for the device, see `reason`), `vendor` (a "
    "vendor has it). Arrived: `delivered` (the application has handled it), `displayed`, `clicked`. Ended without that: `expired`, `recalled`, "
    "`undeliverable` (see `reason`). A state never goes back from arrived or ended."
)


def document(version: str) -> dict[str, Any]:
    """The whole document; `version` is the product's."""
    types: set[type[Any]] = {models.Refused}
    for operation in OPERATIONS:
        types |= {kind for kind in (operation.request, operation.response) if isinstance(kind, type)}
    types.discard(dict)
    _, schemas = msgspec.json.schema_components(sorted(types, key=lambda kind: kind.__name__), ref_template=_REF)
    _sharpen(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Taco push API",
            "version": version,
            "description": "202 means durable. A 4xx was not accepted. After 500, 503 or no answer it is unknown: repeat with the same "
            "idempotency key.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key looks like `<app>.<secret>`."}
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": _STATUS[operation.status],
        "headers": _TRACE if operation.needs_key else {},
    }
    if operation.response is not None:
        answer["content"] = {"application/json": {"schema": _schema(operation.response)}}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [_parameter(name) for name in _parameters(operation)],
        "responses": {str(operation.status): answer, **_refusals(operation)},
        "security": [{"key": []}] if operation.needs_key else [],
    }
    if operation.request is not None:
        described["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _schema(operation.request),
                    "examples": {name: {"value": value} for name, value in _EXAMPLES[operation.name].items()},
                }
            },
        }
    return described


def _schema(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type):
        return {"$ref": _REF.format(name=kind.__name__)}
    return {"type": "object"}


_TRACE = {"traceparent": {"description": "W3C trace context.", "schema": {"type": "string"}}}


def _parameters(operation: Operation) -> tuple[str, ...]:
    in_path = tuple(name for name in ("id", "device") if f"{{{name}}}" in operation.path)
    return (*in_path, *operation.query, *operation.headers)


def _parameter(name: str) -> dict[str, Any]:
    known: dict[str, dict[str, Any]] = {
        "id": {"in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"}},
        "device": {
            "in": "path",
            "required": True,
            "description": "Percent-encoded where it has characters that a path can't.",
            "schema": {**msgspec.json.schema(models.Name)},
            "example": "phone-1",
        },
        "after": {
            "in": "query",
            "description": "The `next` of the page before.",
            "schema": {**msgspec.json.schema(models.Name)},
        },
        "limit": {
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": models.MAX_PAGE, "default": models.MAX_PAGE},
        },
        "idempotency-key": {
            "in": "header",
            "description": "The same as `idempotency_key` in the message.",
            "schema": {"type": "string", "minLength": 1, "maxLength": models.MAX_NAME, "pattern": "^[!-~]+$"},
        },
    }
    return {"name": "Idempotency-Key" if name == "idempotency-key" else name, **known[name]}


def _refusals(operation: Operation) -> dict[str, Any]:
    codes: dict[int, list[str]] = {}
    for code in (*_ALWAYS, *(_WITH_KEY if operation.needs_key else ()), *operation.refusals):
        codes.setdefault(CODES[code].status, []).append(code)
    if operation.name == "readyz":
        codes[503].append("unavailable")
    return {
        str(status): {
            "description": " ".join(f"`{code}`: {CODES[code].meaning}" for code in dict.fromkeys(names)),
            "headers": _headers(status),
            "content": {"application/json": {"schema": {"$ref": _REF.format(name="Refused")}}},
        }
        for status, names in sorted(codes.items())
    }


def _headers(status: int) -> dict[str, Any]:
    if status in (429, 503):
        return {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}}
    if status == 401:
        return {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    return {}


def _sharpen(schemas: dict[str, Any]) -> None:
    """Say what the types can't. A default that `null` stands for is shown as the value it means."""
    for schema in schemas.values():
        for described in schema.get("properties", {}).values():
            if described.get("default", 0) is None:
                del described["default"]
            if "x-default" in described:
                described["default"] = described.pop("x-default")
    target = schemas["Target"]
    ways = {**{name: {"type": kind} for name, kind in _TARGETS.items()}, **_LIVE}
    target["oneOf"] = [{"required": [name], "properties": {name: way}} for name, way in ways.items()]
    for name in _NOT_OFFERED:
        target["properties"][name] = {
            "type": "null",
            "description": target["properties"][name]["description"],
        }
    target["properties"]["devices"]["anyOf"][0]["uniqueItems"] = True
    message = schemas["Message"]
    shown = [
        {"required": [name], "properties": {name: {"type": "string", "minLength": 1}}} for name in ("title", "body")
    ]
    silent = {"required": ["kind"], "properties": {"kind": {"const": "passthrough"}}}
    message["anyOf"] = [*shown, silent]
    by_vendors = {
        "required": ["ttl", "channels"],
        "properties": {"ttl": {"const": 0}, "channels": {"const": "vendor"}},
    }
    live = {"anyOf": [{"required": [name], "properties": {name: way}} for name, way in _LIVE.items()]}
    now = {"required": ["ttl"], "properties": {"ttl": {"const": 0}}}
    message["allOf"] = [{"not": by_vendors}, {"anyOf": [{"properties": {"target": {"not": live}}}, now]}]
    schemas["Result"]["oneOf"] = [{"required": ["id"]}, {"required": ["error"]}]
    schemas["Problem"]["properties"]["code"]["enum"] = list(CODES)
    for name, members in (("State", State), ("Kind", Kind), ("Priority", Priority), ("Channels", Channels)):
        schemas[name]["enum"] = [
            member.value for member in members
        ]  # in their own order: the life of a message, the urgent first
    schemas["State"]["description"] = _STATES
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())  # a docstring's lines are not the reader's
