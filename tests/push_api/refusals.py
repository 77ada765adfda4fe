"""What bad messages get: one table for every door. Each row: what is wrong, the message, code, field."""

from typing import Any

import httpx

from push_core.errors import CODES

TARGET = {"device": "phone-1"}
GOOD: dict[str, Any] = {"target": TARGET, "title": "Order 9"}


def assert_refused(answer: httpx.Response, code: str, field: str | None = None) -> None:
    """The one shape of every refusal."""
    assert answer.status_code == CODES[code].status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "field", "retry"}
    assert (error["code"], error["field"], error["retry"]) == (code, field, CODES[code].retry)
    assert error["message"]


def good(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"deeper": value}
    return value


LONG_NAME = "x" * 129

# Refused by both doors in the same words.
REFUSED: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("no target", {"title": "x"}, "missing_field", "target"),
    ("an empty target", good(target={}), "invalid", "target"),
    ("an empty device name", good(target={"device": ""}), "invalid", "target.device"),
    ("a device name that is too long", good(target={"device": LONG_NAME}), "invalid", "target.device"),
    ("a control character in a device name", good(target={"device": "a\nb"}), "invalid", "target.device"),
    ("a device name that ends in a newline", good(target={"device": "a\n"}), "invalid", "target.device"),
    ("NUL in a device name", good(target={"device": "\x00"}), "invalid", "target.device"),
    ("a C1 control character", good(target={"device": "a\x85"}), "invalid", "target.device"),
    ("no devices", good(target={"devices": []}), "invalid", "target.devices"),
    ("a device named twice", good(target={"devices": ["a", "b", "a"]}), "invalid", "target.devices"),
    ("an empty name among devices", good(target={"devices": ["a", ""]}), "invalid", "target.devices[1]"),
    ("a control character among devices", good(target={"devices": ["a", "\t"]}), "invalid", "target.devices[1]"),
    (
        "1,001 devices",
        good(target={"devices": [str(n) for n in range(1_001)]}),
        "too_many",
        "target.devices",
    ),
    ("an empty alias", good(target={"alias": ""}), "invalid", "target.alias"),
    ("a control character in an alias", good(target={"alias": "a\x7f"}), "invalid", "target.alias"),
    ("a notification without title and body", {"target": TARGET}, "missing_field", "title"),
    ("a notification with data only", {"target": TARGET, "data": {"a": 1}}, "missing_field", "title"),
    ("a notification with an empty title", good(title=""), "missing_field", "title"),
    ("a kind that is none", good(kind="email"), "invalid", "kind"),
    ("a priority that is none", good(priority="asap"), "invalid", "priority"),
    ("channels that are none", good(channels="both"), "invalid", "channels"),
    ("ttl below 0", good(ttl=-1), "invalid", "ttl"),
    ("ttl above a week", good(ttl=604_801), "invalid", "ttl"),
    ("ttl 0 for a vendor only", good(ttl=0, channels="vendor"), "invalid", "ttl"),
    ("ack_timeout 0", good(ack_timeout=0), "invalid", "ack_timeout"),
    ("ack_timeout above an hour", good(ack_timeout=3_601), "invalid", "ack_timeout"),
    ("a collapse key that is too long", good(collapse=LONG_NAME), "invalid", "collapse"),
    ("a control character in a collapse key", good(collapse="a\x1f"), "invalid", "collapse"),
    ("an idempotency key that is too long", good(idempotency_key=LONG_NAME), "invalid", "idempotency_key"),
    ("a control character in an idempotency key", good(idempotency_key="\r"), "invalid", "idempotency_key"),
    ("data that is too large", good(data={"a": "x" * 4_096}), "too_large", "data"),
    ("a title that is too large", good(title="x" * 4_095), "too_large", "title"),
    ("a body that is too large", good(body="x" * 4_095), "too_large", "body"),
    ("title, body and data too large together", good(body="x" * 2_100, data={"a": "x" * 2_000}), "too_large", "data"),
    ("data nested too deep", good(data=deep(33)), "invalid", "data"),
    ("an integer beyond 64 bits in data", good(data={"a": [2**64]}), "invalid", "data"),
    ("a large negative integer in data", good(data={"a": -(2**63) - 1}), "invalid", "data"),
    ("vendor overrides that are too large", good(vendor={"apns": {"a": "x" * 4_096}}), "too_large", "vendor"),
    ("vendor overrides nested too deep", good(vendor={"apns": deep(33)}), "invalid", "vendor"),
    ("an integer beyond 64 bits in vendor", good(vendor={"apns": {"badge": 2**70}}), "invalid", "vendor"),
    ("a vendor channel with a bad name", good(vendor={"AP NS": {}}), "invalid", "vendor"),
    ("a vendor override that is no object", good(vendor={"apns": 3}), "invalid", "vendor"),
    ("data that is an array", good(data=[1]), "invalid", "data"),
    ("data that is a text", good(data="x"), "invalid", "data"),
]

# Only JSON can say these; protobuf has no words for them.
REFUSED_JSON: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("an unknown field", good(titel="x"), "unknown_field", "titel"),
    ("an unknown field of the target", good(target={"devic": "a"}), "unknown_field", "target.devic"),
    ("two targets", good(target={"device": "a", "alias": "b"}), "invalid", "target"),
    ("two targets, one not offered", good(target={"device": "a", "all": True}), "invalid", "target"),
    ("a target that is a text", good(target="phone-1"), "invalid", "target"),
    ("a target that is null", good(target=None), "invalid", "target"),
    ("aliases", good(target={"aliases": ["a"]}), "not_available", "target.aliases"),
    ("tags", good(target={"tags": "a && !b"}), "not_available", "target.tags"),
    ("a topic that is to wait", good(target={"topic": "t"}), "not_available", "ttl"),
    ("all, to wait", good(target={"all": True}, ttl=60), "not_available", "ttl"),
    ("all, but not", good(target={"all": False}, ttl=0), "invalid", "target.all"),
    ("a topic that is none", good(target={"topic": "city *"}, ttl=0), "invalid", "target.topic"),
    ("a topic by vendors", good(target={"topic": "t"}, ttl=0, channels="vendor"), "invalid", "ttl"),
    ("a device that is a number", good(target={"device": 7}), "invalid", "target.device"),
    ("devices that are a text", good(target={"devices": "a"}), "invalid", "target.devices"),
    ("a number among devices", good(target={"devices": ["a", 3]}), "invalid", "target.devices[1]"),
    ("a title that is a number", good(title=9), "invalid", "title"),
    ("ttl that is a text", good(ttl="60"), "invalid", "ttl"),
    ("ttl that is a fraction", good(ttl=1.5), "invalid", "ttl"),
    ("ttl that is true", good(ttl=True), "invalid", "ttl"),
    ("ttl that is huge", good(ttl=10**400), "invalid", "ttl"),
    ("vendor that is an array", good(vendor=[]), "invalid", "vendor"),
    ("an empty idempotency key", good(idempotency_key=""), "invalid", "idempotency_key"),
    ("an empty collapse key", good(collapse=""), "invalid", "collapse"),
]

# Bodies that are not JSON, or nothing that can be read as a message.
UNREADABLE: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "bad_json"),
    ("text", b"hello", "bad_json"),
    ("half an object", b'{"target":', "bad_json"),
    ("two objects", b'{"target":{"device":"a"},"title":"x"}{}', "bad_json"),
    ("single quotes", b"{'target':1}", "bad_json"),
    ("not UTF-8", b'{"target":{"device":"\xff"},"title":"x"}', "bad_json"),
    ("UTF-16", '{"title":"x"}'.encode("utf-16"), "bad_json"),
    ("a byte-order mark", b'\xef\xbb\xbf{"target":{"device":"a"},"title":"x"}', "bad_json"),
    ("a lone surrogate", b'{"target":{"device":"a"},"title":"\\ud800 "}', "bad_json"),
    ("a lone surrogate as a key", b'{"target":{"device":"a"},"title":"x","data":{"\\udc00":1}}', "bad_json"),
    ("a raw control character", b'{"target":{"device":"a"},"title":"\x01"}', "bad_json"),
    ("NaN", b'{"target":{"device":"a"},"title":"x","data":{"a":NaN}}', "bad_json"),
    ("Infinity", b'{"target":{"device":"a"},"title":"x","data":{"a":-Infinity}}', "bad_json"),
    ("100,000 brackets", b'{"target":{"device":"a"},"title":"x","data":{"a":' + b"[" * 100_000, "bad_json"),
    ("100,000 closed brackets", b'{"data":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "bad_json"),
    ("a number beyond a double", b'{"target":{"device":"a"},"title":"x","data":{"a":1e999}}', "invalid"),
    ("5,000 digits", b'{"target":{"device":"a"},"title":"x","data":{"a":' + b"9" * 5_000 + b"}}", "invalid"),
    ("an array", b"[]", "invalid"),
    ("null", b"null", "invalid"),
]
