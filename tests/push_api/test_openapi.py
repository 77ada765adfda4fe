import json
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from push_api.decoding import decode_message
from push_api.openapi import document
from push_api.operations import OPERATIONS
from push_api.validation import draft_of
from push_core.errors import UserError
from push_core.lifecycle import State
from tests.push_api.refusals import REFUSED, REFUSED_JSON, good

DOCUMENT: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document("1.0")))


def schema(name: str) -> Any:
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def is_message(value: Any) -> bool:
    return jsonschema_rs.validator_for(schema("Message")).is_valid(value)


def test_every_operation_is_in_it() -> None:
    described = {
        (path, method): operation["operationId"]
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }
    assert described == {(operation.path, operation.method.lower()): operation.name for operation in OPERATIONS}


def test_its_schemas_are_schemas() -> None:
    for name in DOCUMENT["components"]["schemas"]:
        jsonschema_rs.validator_for(schema(name))


def test_words_stand_in_their_own_order_and_descriptions_are_one_paragraph() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Priority"]["enum"] == ["urgent", "high", "normal", "low"]
    assert schemas["State"]["enum"] == [state.value for state in State]
    assert all(f"`{state}`" in schemas["State"]["description"] for state in State)
    assert not [name for name, described in schemas.items() if "\n" in described.get("description", "")]


def test_its_examples_are_valid_and_accepted() -> None:
    for path, method in (("/v1/messages", "post"), ("/v1/messages:batch", "post"), ("/v1/devices/{device}", "put")):
        content = DOCUMENT["paths"][path][method]["requestBody"]["content"]["application/json"]
        validator = jsonschema_rs.validator_for({**content["schema"], "components": DOCUMENT["components"]})
        for example in content["examples"].values():
            validator.validate(example["value"])
            if path == "/v1/messages":
                draft_of(decode_message(json.dumps(example["value"]).encode()))


# What JSON Schema can't say, or says of characters where the server counts bytes.
BEYOND_SCHEMA = {
    "data that is too large",
    "a title that is too large",
    "a body that is too large",
    "title, body and data too large together",
    "data nested too deep",
    "an integer beyond 64 bits in data",
    "a large negative integer in data",
    "vendor overrides that are too large",
    "vendor overrides nested too deep",
    "an integer beyond 64 bits in vendor",
}


@pytest.mark.parametrize(("wrong", "message"), [(row[0], row[1]) for row in REFUSED + REFUSED_JSON])
def test_what_the_server_refuses_is_no_message_by_the_schema(wrong: str, message: Any) -> None:
    assert is_message(message) == (wrong in BEYOND_SCHEMA)


@pytest.mark.parametrize(
    "message",
    [
        good(),
        good(target={"device": "a", "alias": None}),
        good(target={"devices": ["a", "b"]}),
        good(priority=None, ttl=None, data=None, vendor=None),
        good(kind="passthrough", title=None),
        {"target": {"alias": "u"}, "kind": "passthrough"},
        {"target": {"alias": "u"}, "body": "x", "kind": None},
        good(ttl=0, channels="long"),
        good(vendor={"apns": {"badge": 1}}),
    ],
)
def test_what_the_server_takes_is_a_message_by_the_schema(message: Any) -> None:
    draft_of(decode_message(json.dumps(message).encode()))
    assert is_message(message)


def test_the_defaults_are_shown_as_values() -> None:
    shown = DOCUMENT["components"]["schemas"]["Message"]["properties"]
    assert (shown["ttl"]["default"], shown["kind"]["default"], shown["channels"]["default"]) == (
        86_400,
        "notification",
        "auto",
    )
    assert "default" not in shown["title"]


def test_every_refusal_is_described_with_the_one_shape() -> None:
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    ref = answer["content"]["application/json"]["schema"]["$ref"]
                    assert ref == "#/components/schemas/Refused"
            assert {"400", "500", "503"} <= set(operation["responses"])


def test_a_problem_names_only_codes_that_exist() -> None:
    with pytest.raises(UserError):
        decode_message(b"{}")
    refused = {"error": {"code": "no such code", "message": "x", "field": None, "retry": False}}
    assert not jsonschema_rs.validator_for(schema("Refused")).is_valid(refused)
