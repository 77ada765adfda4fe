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

    def received_ids(self, message: bytes) -> tuple[int, ...] | None:
        """The ids of a message that is one ack, with status `received`, in the form that the SDKs send, and nothing else. None says nothing: ask
        `decode_client`. Nearly all that clients send is such a message."""
        ...

    def decode_server(self, message: bytes) -> list[ServerFrame]:
        """The frames a server sent. Raises FrameError; unknown fields are ignored, an unknown frame type becomes `Unknown`, a
        push of which only the id can be read `Undecodable`."""
        ...

    def encode(self, frames: Sequence[ClientFrame | ServerFrame]) -> bytes:
        """One WebSocket message holding all frames, in order."""
        ...

    def prepare_push(self, push: bytes) -> bytes:
        """The first of two steps to fan a push out: once per message and codec. Takes the push's canonical form (a JSON object,
        as the API made it, without `again` and `via_vendor`); gives what `finish_push` takes. What it gives is itself the whole
        WebSocket message for a push that is neither `again` nor `via_vendor`, so that all sessions can share it.

        Raises FrameError if `push` is not a push. JSON is spliced and not parsed: there only what comes of it is checked."""
        ...

    def finish_push(self, prepared: bytes, *, again: bool, via_vendor: bool) -> bytes:
        """The second step, once per session: one WebSocket message holding one push with its flags."""
        ...

    def encode_push(self, push: bytes, *, again: bool, via_vendor: bool) -> bytes:
        """Both steps, for a push that goes to one session."""
        ...

    def join(self, messages: Sequence[bytes]) -> bytes:
        """One WebSocket message holding the frames of several encoded ones, in order; the caller minds `max_frame`."""
        ...
