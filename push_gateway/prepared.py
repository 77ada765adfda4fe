"""What goes to many devices as WebSocket frames, made at most once per codec and shared by all."""

from abc import ABC, abstractmethod

from push_gateway.websocket_frames import data_frame
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.frames import Recall


class Prepared(ABC):
    __slots__ = ("_codec", "_frame", "_others")

    def __init__(self) -> None:
        # Most pushes are for one device: what is made first needs no dict.
        self._codec: Codec | None = None
        self._frame = b""
        self._others: dict[Codec, bytes] | None = None

    def frame(self, codec: Codec) -> bytes:
        """The whole WebSocket frame. Raises FrameError for a push that isn't one."""
        if codec is self._codec:
            return self._frame
        if self._codec is None:
            self._frame = self._make(codec)
            self._codec = codec
            return self._frame
        if self._others is None:
            self._others = {}
        frame = self._others.get(codec)
        if frame is None:
            frame = self._others[codec] = self._make(codec)
        return frame

    @abstractmethod
    def _make(self, codec: Codec) -> bytes: ...


class PreparedPush(Prepared):
    """`push` as in `push_core.envelope.Envelope.push`."""

    __slots__ = ("_again", "_push", "_via_vendor")

    def __init__(self, push: bytes, *, again: bool, via_vendor: bool) -> None:
        super().__init__()
        self._push = push
        self._again = again
        self._via_vendor = via_vendor

    def _make(self, codec: Codec) -> bytes:
        return push_frame(codec, self._push, again=self._again, via_vendor=self._via_vendor)


def push_frame(codec: Codec, push: bytes, *, again: bool, via_vendor: bool) -> bytes:
    """As `PreparedPush.frame`, for a push that goes to one device."""
    return data_frame(codec.encode_push(push, again=again, via_vendor=via_vendor), text=not codec.binary)


class PreparedRecall(Prepared):
    __slots__ = ("_id",)

    def __init__(self, message_id: int) -> None:
        super().__init__()
        self._id = message_id

    def _make(self, codec: Codec) -> bytes:
        return data_frame(codec.encode([Recall(self._id)]), text=not codec.binary)
