import pytest

from push_api.operations import OPERATIONS, NotAllowed, match
from push_core.errors import CODES, UserError


@pytest.mark.parametrize(
    ("method", "path", "name", "argument"),
    [
        ("POST", b"/v1/messages", "send", ""),
        ("POST", b"/v1/messages:batch", "send_batch", ""),
        ("GET", b"/v1/messages/7", "get_message", "7"),
        ("HEAD", b"/v1/messages/7", "get_message", "7"),
        ("DELETE", b"/v1/messages/7", "recall", "7"),
        ("PUT", b"/v1/devices/a%2Fb", "put_device", "a/b"),
        ("GET", b"/v1/devices/a%2Fb/presence", "get_presence", "a/b"),
        ("GET", b"/v1/devices/presence", "get_device", "presence"),
        ("POST", b"/v1/devices/d:block", "block", "d"),
        ("POST", b"/v1/devices/d:block:unblock", "unblock", "d:block"),
        ("GET", b"/v1/devices/d%3Ablock", "get_device", "d:block"),
        ("GET", b"/v1/devices/a:b", "get_device", "a:b"),
        ("GET", b"/v1/devices/%C3%A4", "get_device", "ä"),
        ("GET", b"/healthz", "healthz", ""),
    ],
)
def test_a_path_is_matched_as_it_was_sent(method: str, path: bytes, name: str, argument: str) -> None:
    found = match(method, path)
    assert found is not None
    assert (found[0].name, found[1]) == (name, argument)


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/v1/messages/",
        b"/v1/messages/1/2",
        b"/v1/devices/",
        b"/v1/devices//presence",
        b"/v1/devices/:block",
        b"/v1/devices/a/b",
        b"/v1/devices/a/presence/",
        b"/V1/messages",
        b"/v1/messages%3Abatch",
    ],
)
def test_other_paths_are_nobodys(path: bytes) -> None:
    assert match("GET", path) is None


def test_an_action_is_only_posted() -> None:
    with pytest.raises(NotAllowed) as refused:
        match("GET", b"/v1/devices/d:block")
    assert refused.value.allow == "POST"


def test_head_is_allowed_wherever_get_is() -> None:
    with pytest.raises(NotAllowed) as refused:
        match("PATCH", b"/v1/messages/1")
    assert refused.value.allow == "GET, DELETE, HEAD"


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(UserError) as refused:
        match("GET", b"/v1/devices/%ff")
    assert refused.value.code == "bad_request"


def test_every_refusal_in_the_table_is_a_code_of_the_contract() -> None:
    assert {code for operation in OPERATIONS for code in operation.refusals} <= set(CODES)
