"""The opening handshake and the plain requests beside it."""

import pytest

from push_gateway.handshake import answer
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import PROTO

HEADERS = {
    "Host": "gateway",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "taco.v1+json",
}


def request(line: str = "GET /v1/connect HTTP/1.1", **changed: str | None) -> bytes:
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([line, *lines, "", ""]).encode()


def status(head: bytes, *, ready: bool = True) -> int:
    said = answer(head, ready=ready)
    code = int(said.data.split(b" ")[1])
    assert (said.codec is None) == (code != 101)
    return code


def test_an_upgrade_is_accepted_with_the_codec_of_its_subprotocol(codec: Codec) -> None:
    said = answer(request(Sec_WebSocket_Protocol=codec.subprotocol), ready=True)
    assert said.codec is codec
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in said.data  # the example of RFC 6455 §1.3
    assert f"Sec-WebSocket-Protocol: {codec.subprotocol}".encode() in said.data


def test_the_client_s_order_decides_between_subprotocols() -> None:
    said = answer(request(Sec_WebSocket_Protocol="chat, taco.v1+proto, taco.v1+json"), ready=True)
    assert said.codec is PROTO


def test_compression_is_never_negotiated() -> None:
    said = answer(request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"), ready=True)
    assert said.codec is not None
    assert b"xtensions" not in said.data


@pytest.mark.parametrize("subprotocol", [None, "", "chat", "taco.v1", "taco.v1+xml", "TACO.V1+JSON"])
def test_no_subprotocol_or_an_unknown_one_is_400(subprotocol: str | None) -> None:
    assert status(request(Sec_WebSocket_Protocol=subprotocol)) == 400


@pytest.mark.parametrize(
    ("head", "code"),
    [
        pytest.param(request("POST /v1/connect HTTP/1.1"), 405, id="POST"),
        pytest.param(request(Upgrade=None), 426, id="no upgrade"),
        pytest.param(request(Sec_WebSocket_Version="8"), 400, id="an old version"),
        pytest.param(request(Sec_WebSocket_Key="short"), 400, id="a bad key"),
        pytest.param(request("GET / HTTP/1.1"), 404, id="another path"),
        pytest.param(request("GET /v1/connect/ HTTP/1.1"), 404, id="nearly the path"),
        pytest.param(request("GET /v1/connect?x=1 HTTP/1.1"), 101, id="a query is no matter"),
        pytest.param(b"\x16\x03\x01\x02\x00\r\n\r\n", 400, id="TLS where none is"),
        pytest.param(b"\r\n\r\n", 400, id="empty"),
        pytest.param(b"GET /v1/connect HTTP/1.1\r\nno colon\r\n\r\n", 400, id="a header without a colon"),
    ],
)
def test_other_requests_get_their_status(head: bytes, code: int) -> None:
    assert status(head) == code


def test_health_is_always_ok_and_readiness_only_when_ready() -> None:
    assert status(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", ready=False) == 200
    assert status(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", ready=True) == 200
    assert status(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", ready=False) == 503
    assert status(b"DELETE /readyz HTTP/1.1\r\nHost: x\r\n\r\n") == 405
