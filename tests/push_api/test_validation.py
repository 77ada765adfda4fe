import json
from typing import Any

import msgspec
import pytest

from push_api.decoding import decode_message
from push_api.drafts import Draft
from push_api.models import Registration
from push_api.validation import check_name, check_registration, draft_of
from push_core.errors import UserError
from push_core.models import Channels, Kind, Priority
from tests.push_api.refusals import REFUSED, REFUSED_JSON, TARGET, deep, good


def draft(message: dict[str, Any], **options: Any) -> Draft:
    return draft_of(decode_message(json.dumps(message).encode()), **options)


def content(made: Draft) -> Any:
    return json.loads(b"{" + made.content + b"}")


@pytest.mark.parametrize(("wrong", "message", "code", "field"), REFUSED + REFUSED_JSON)
def test_a_bad_message_is_refused_with_a_code_and_the_field(
    wrong: str, message: dict[str, Any], code: str, field: str | None
) -> None:
    with pytest.raises(UserError) as refused:
        draft(message)
    assert (refused.value.code, refused.value.field) == (code, field)


def test_a_message_without_the_rest_gets_the_contracts_defaults() -> None:
    made = draft({"target": TARGET, "title": "Order 9"})
    assert (made.kind, made.priority, made.channels) == (Kind.NOTIFICATION, Priority.NORMAL, Channels.AUTO)
    assert (made.ttl_ms, made.ack_timeout_ms) == (86_400_000, 10_000)
    assert (made.devices, made.alias, made.collapse, made.vendor, made.key) == (["phone-1"], None, None, None, None)


def test_null_is_as_if_the_field_were_not_there() -> None:
    fields = [
        "kind",
        "body",
        "data",
        "priority",
        "ttl",
        "collapse",
        "channels",
        "ack_timeout",
        "vendor",
        "idempotency_key",
    ]
    assert draft(good(**dict.fromkeys(fields))) == draft(good())
    assert draft(good(target={"device": "a", "alias": None, "all": None})).devices == ["a"]


def test_a_notification_may_have_only_a_body() -> None:
    assert content(draft({"target": TARGET, "body": "x"}))["body"] == "x"


def test_a_passthrough_needs_nothing_to_show() -> None:
    made = draft({"target": TARGET, "kind": "passthrough"})
    assert content(made) == {"kind": "passthrough", "priority": "normal"}


def test_content_has_the_order_of_the_wire_and_no_spaces() -> None:
    made = draft(good(priority="urgent", data={"b": 1, "a": [1.5, None]}, body="é", collapse="c"))
    assert made.content.decode() == (
        '"kind":"notification","title":"Order 9","body":"é","data":{"b":1,"a":[1.5,null]},"collapse":"c","priority":"urgent"'
    )


@pytest.mark.parametrize(
    "message",
    [
        {"target": TARGET, "kind": "passthrough", "data": {"a": "x" * (4_096 - 8)}},  # {"a":"…"}: 8 bytes around it
        {"target": TARGET, "title": "x" * 4_094},  # the quotes count
        {"target": TARGET, "title": "x" * 2_000, "body": "y" * 2_084, "data": {"a": 1}, "collapse": "c" * 128},
    ],
)
def test_4096_bytes_of_title_body_and_data_are_allowed(message: dict[str, Any]) -> None:
    made = draft(message)
    size = sum(len(msgspec.json.encode(message[part])) for part in ("title", "body", "data") if part in message)
    assert size in (4_096, 4_095)
    assert made.content


def test_the_encoding_is_what_counts_not_the_characters() -> None:
    assert draft({"target": TARGET, "title": "é" * 2_047})
    with pytest.raises(UserError, match="the limit is 4096"):
        draft({"target": TARGET, "title": "é" * 2_048})


def test_data_may_nest_32_levels_and_hold_64_bit_integers() -> None:
    assert draft(good(data=deep(32)))
    assert draft(good(data={"low": -(2**63), "high": 2**64 - 1}))


def test_names_may_have_any_character_but_controls() -> None:
    for name in ("a", "x" * 128, "Fahrer 7/ä.🚲", " ", "\u200b"):
        assert draft(good(target={"device": name})).devices == [name]
    with pytest.raises(UserError):
        check_name("", "device")


@pytest.mark.parametrize("ttl", [0, 1, 604_800])
def test_ttl_may_be_0_to_a_week(ttl: int) -> None:
    assert draft(good(ttl=ttl)).ttl_ms == ttl * 1_000


def test_the_key_comes_from_the_message_or_from_the_request() -> None:
    assert draft(good(idempotency_key="k")).key == "k"
    assert draft(good(), key="k").key == "k"
    assert draft(good(idempotency_key="k"), key="k").key == "k"


def test_two_different_keys_are_refused() -> None:
    with pytest.raises(UserError) as refused:
        draft(good(idempotency_key="a"), key="b")
    assert (refused.value.code, refused.value.field) == ("invalid", "idempotency_key")


def test_the_digest_is_of_the_meaning_not_of_the_bytes() -> None:
    first = draft(good(idempotency_key="k", data={"a": 1, "b": 2}))
    same = draft(good(data={"b": 2, "a": 1}, priority="normal", ttl=86_400, body=None), key="k")
    assert first.digest == same.digest
    assert len(first.digest) == 32
    assert draft(good()).digest == b""


@pytest.mark.parametrize(
    "change",
    [
        {"target": {"device": "phone-2"}},
        {"target": {"alias": "phone-1"}},
        {"kind": "passthrough"},
        {"title": "Order 10"},
        {"body": "x"},
        {"data": {}},
        {"priority": "low"},
        {"ttl": 60},
        {"collapse": "c"},
        {"channels": "long"},
        {"ack_timeout": 11},
        {"vendor": {"apns": {}}},
    ],
)
def test_any_other_meaning_has_another_digest(change: dict[str, Any]) -> None:
    assert draft(good(**change), key="k").digest != draft(good(), key="k").digest


def test_a_place_in_a_batch_is_part_of_the_field() -> None:
    with pytest.raises(UserError) as refused:
        draft({"target": {"device": "\t"}, "title": "x"}, at="messages[3]")
    assert refused.value.field == "messages[3].target.device"


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (Registration(alias="a\n"), "alias"),
        (Registration(locale="de\x00"), "locale"),
        (Registration(tags=["ok", "city\n"]), "tags[1]"),
        (Registration(vendor_tokens={"apns\n": "x"}), "vendor_tokens"),
        (Registration(vendor_tokens={"apns": "x\x00"}), "vendor_tokens"),
    ],
)
def test_a_registration_has_no_control_characters(record: Registration, field: str) -> None:
    with pytest.raises(UserError) as refused:
        check_registration(record)
    assert (refused.value.code, refused.value.field) == ("invalid", field)
