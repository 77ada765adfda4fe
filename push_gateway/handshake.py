"""The opening handshake, and whatever else of `websockets` the gateway uses: its parser and rules for the upgrade request, and
its masking function. The one file that imports it.

Pure: the request's bytes in, the answer's bytes out. A request is handed in whole, so that nothing of the library lives while
a slow client sends it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from websockets.exceptions import NegotiationError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import SUBPROTOCOLS, choose

try:
    from websockets.speedups import apply_mask
except ImportError:  # built without its C extension
    from websockets.utils import apply_mask

__all__ = ["HEAD_END", "Answer", "answer", "apply_mask", "plain"]

PATH = "/v1/connect"
HEAD_END = b"\r\n\r\n"
_log = logging.getLogger("push_gateway.handshake")
_log.setLevel(logging.WARNING)  # websockets tells of each connection; with a session each that is our own log's to do


@dataclass(frozen=True, slots=True)
class Answer:
    """What is written back. `codec` is None when the connection is closed after it."""

    data: bytes
    codec: Codec | None = None


Screen = Callable[[Sequence[str], str], Answer | None]
"""What a device's request is refused with, or None, by its headers X-Forwarded-For and its User-Agent ("": none)."""


def answer(head: bytes, *, ready: bool, screen: Screen | None = None) -> Answer:
    """The answer to one request, its head given up to and with the empty line. `ready` is what `/readyz` says."""
    protocol = ServerProtocol(select_subprotocol=_select, logger=_log)
    protocol.receive_data(head)
    request = next((event for event in protocol.events_received() if isinstance(event, Request)), None)
    if request is None:
        return plain(HTTPStatus.BAD_REQUEST, "not an HTTP request that is understood here\n")
    path = request.path.partition("?")[0]
    if path == PATH:
        if screen is not None:
            headers = request.headers
            agents = headers.get_all("User-Agent")
            refused = screen(headers.get_all("X-Forwarded-For"), agents[0] if agents else "")
            if refused is not None:
                return refused
        response = protocol.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return _closing(response)
        return Answer(bytes(response.serialize()), choose([protocol.subprotocol or ""]))
    if path not in ("/healthz", "/readyz"):
        return plain(HTTPStatus.NOT_FOUND, f"devices connect to {PATH}\n")
    if request.method not in ("GET", "HEAD"):
        return plain(HTTPStatus.METHOD_NOT_ALLOWED, "GET only\n")
    if path == "/healthz" or ready:
        return plain(HTTPStatus.OK, "ok\n")
    return plain(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")


def plain(status: HTTPStatus, text: str, *, retry_after_s: int = 0) -> Answer:
    """An answer in words, after which the connection is closed."""
    response = ServerProtocol(logger=_log).reject(status, text)
    if retry_after_s:
        response.headers["Retry-After"] = str(retry_after_s)
    return _closing(response)


def _closing(response: Response) -> Answer:
    return Answer(bytes(response.serialize()))


def _select(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol:
    codec = choose(offered)
    if codec is None:  # becomes HTTP 400
        raise NegotiationError(f"offer one of the subprotocols {', '.join(SUBPROTOCOLS)}")
    return Subprotocol(codec.subprotocol)
