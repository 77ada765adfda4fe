import json
from collections.abc import Callable
from functools import partial

import pytest

from push_api.decoding import convert, decode, decode_batch, decode_message, join
from push_api.models import Message, Registration
from push_core.errors import UserError
from tests.push_api.refusals import REFUSED, REFUSED_JSON, good


def problem(read: Callable[[], object]) -> tuple[str, str | None] | None:
    """Code and field of the refusal; None if there is none."""
    try:
        read()
    except UserError as error:
        return error.code, error.field
    return None


def refused(body: bytes) -> UserError:
    with pytest.raises(UserError) as caught:
        decode_message(body)
    return caught.value


def test_a_json_object_becomes_the_model() -> None:
    assert decode(b'{"alias":"user-7"}', Registration) == Registration(alias="user-7")
    assert isinstance(decode_message(json.dumps(good()).encode()), Message)


def test_a_plain_object_is_refused_like_its_json() -> None:
    for wrong, message, _, _ in REFUSED + REFUSED_JSON:
        body = json.dumps(message).encode()
        as_json, plain = problem(partial(decode_message, body)), problem(partial(convert, message, Message))
        assert (wrong, plain) == (wrong, as_json)


def test_types_have_the_names_that_json_has_for_them() -> None:
    assert refused(json.dumps(good(title=5)).encode()).message == "title: Expected `string | null`, got `integer`"
    assert refused(json.dumps(good(ttl=1.5)).encode()).message == "ttl: Expected `integer | null`, got `number`"
    assert refused(json.dumps(good(int=1)).encode()).field == "int"


def test_a_batch_keeps_its_order_with_errors_in_their_places() -> None:
    first, second, third = decode_batch(json.dumps({"messages": [good(), good(ttl="x"), good(body="y")]}).encode())
    assert isinstance(first, Message)
    assert isinstance(second, UserError)
    assert second.field == "messages[1].ttl"
    assert isinstance(third, Message)
    assert third.body == "y"


def test_a_name_that_is_nothing_like_any_other_gets_no_proposal() -> None:
    assert refused(json.dumps(good(qqqqqq=1)).encode()).message == "there is no field qqqqqq"


def test_a_very_long_name_is_not_repeated_whole() -> None:
    error = refused(json.dumps(good(**{"x" * 10_000: 1})).encode())
    assert error.field is not None
    assert len(error.field) == 100
    assert len(error.message) < 200


@pytest.mark.parametrize("name", ["a`b", "a` - at `$.b", "a\nb", "$", "ä"])
def test_a_strange_name_is_still_an_unknown_field(name: str) -> None:
    assert refused(json.dumps(good(**{name: 1})).encode()).code == "unknown_field"


def test_a_wrong_value_with_strange_text_names_the_right_field() -> None:
    error = refused(json.dumps(good(kind="x` - at `$.body`")).encode())
    assert (error.code, error.field) == ("invalid", "kind")


@pytest.mark.parametrize(
    ("prefix", "path", "joined"), [("", "", ""), ("a", "", "a"), ("", "b", "b"), ("messages[0]", "b", "messages[0].b")]
)
def test_paths_are_joined_by_dots(prefix: str, path: str, joined: str) -> None:
    assert join(prefix, path) == joined


def test_the_deepest_json_that_can_be_read_is_no_fault_of_the_server() -> None:
    for levels in (100, 500, 900, 990, 1_000, 5_000):
        body = b'{"target":{"device":"a"},"title":"x","data":{"a":' + b"[" * levels + b"]" * levels + b"}}"
        assert problem(partial(decode_message, body)) in (None, ("bad_json", None))
