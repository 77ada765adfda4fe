"""The two codecs behind one interface, chosen by the WebSocket subprotocol. One WebSocket message holds one or more frames."""

from collections.abc import Sequence
from typing import Protocol

from sdk_proto.wire.frames import ClientFrame, ServerFrame


class FrameError(ValueError):
    """The WebSocket message is not a sequence of `taco.v1` frames: the peer is told 4300. The text names what is wrong and where."""


class Codec(Protocol):
    """Pure. `binary` says whether its WebSocket messages are binary; a message of the other kind is a FrameError."""

    subprotocol: str
    binary: bool

    def decode_client(self, message: bytes) -> list[ClientFrame]:
        """The frames a client sent. Raises FrameError; unknown fields are ignored, an unknown frame type becomes `Unknown`."""
        ...

    def decode_server(self, message: bytes) -> list[ServerFrame]:
        """The frames a server sent. Raises FrameError; unknown fields are ignored, an unknown frame type becomes `Unknown`."""
        ...

    def encode(self, frames: Sequence[ClientFrame | ServerFrame]) -> bytes:
        """One WebSocket message holding all frames, in order."""
        ...

    def encode_push(self, push: bytes, *, again: bool, via_vendor: bool) -> bytes:
        """One WebSocket message holding one push, from the push's canonical form: a JSON object, as the API made it, without
        `again` and `via_vendor`. This is the gateway's hot path: it splices, it does not parse where it need not."""
        ...
