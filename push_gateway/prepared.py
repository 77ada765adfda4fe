"""What goes to many devices as WebSocket frames, made at most once per codec and shared by all."""

from abc import ABC, abstractmethod

from push_gateway.websocket_frames import data_frame
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.frames import Recall


class Prepared(ABC):
    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames: dict[Codec, bytes] = {}

    def frame(self, codec: Codec) -> bytes:
        """The whole WebSocket frame. Raises FrameError for a push that isn't one."""
        frame = self._frames.get(codec)
        if frame is None:
            frame = self._frames[codec] = data_frame(self._message(codec), text=not codec.binary)
        return frame

    @abstractmethod
    def _message(self, codec: Codec) -> bytes: ...


class PreparedPush(Prepared):
    """`push` as in `push_core.envelope.Envelope.push`."""

    __slots__ = ("_again", "_push", "_via_vendor")

    def __init__(self, push: bytes, *, again: bool, via_vendor: bool) -> None:
        super().__init__()
        self._push = push
        self._again = again
        self._via_vendor = via_vendor

    def _message(self, codec: Codec) -> bytes:
        return codec.encode_push(self._push, again=self._again, via_vendor=self._via_vendor)


class PreparedRecall(Prepared):
    __slots__ = ("_id",)

    def __init__(self, message_id: int) -> None:
        super().__init__()
        self._id = message_id

    def _message(self, codec: Codec) -> bytes:
        return codec.encode([Recall(self._id)])
