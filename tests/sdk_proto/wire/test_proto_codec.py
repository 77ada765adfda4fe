"""`taco.v1+proto` in the details that JSON doesn't have."""

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc  # type: ignore[import-untyped]

from sdk_proto.wire import frames as f
from sdk_proto.wire import frames_pb2 as pb
from sdk_proto.wire.codec import FrameError
from sdk_proto.wire.subprotocols import PROTO

ROOT = Path(__file__).resolve().parents[3]


def test_the_generated_code_is_made_from_frames_proto(tmp_path: Path) -> None:
    made = tmp_path / "frames.pb"
    assert protoc.main(["", f"-I{ROOT}", f"--descriptor_set_out={made}", "sdk_proto/wire/frames.proto"]) == 0
    (described,) = FileDescriptorSet.FromString(made.read_bytes()).file
    compiled = type(described)()
    pb.DESCRIPTOR.CopyToProto(compiled)
    described.ClearField("source_code_info")
    for message in (*described.message_type, *compiled.message_type):
        for field in message.field:
            field.ClearField("json_name")
    assert described == compiled


def test_the_usual_ack_is_14_bytes() -> None:
    assert len(PROTO.encode([f.Ack((f.MAX_ID,))])) == 14


def test_a_status_in_front_of_the_ids_is_read_as_well() -> None:
    ack = b"\x12\x07clicked" + b"\x0a\x08" + (7).to_bytes(8, "little")
    assert PROTO.decode_client(_frame(b"\x12", ack)) == [f.Ack((7,), "clicked")]


def test_ids_that_are_not_packed_are_read_as_well() -> None:
    ack = b"\x09" + (7).to_bytes(8, "little") + b"\x09" + (8).to_bytes(8, "little")
    assert PROTO.decode_client(_frame(b"\x12", ack)) == [f.Ack((7, 8))]


def test_unknown_fields_are_ignored() -> None:
    assert PROTO.decode_client(_frame(b"\x1a", b"\x08\x03\x7a\x03red")) == [f.Ping(3)]


def test_an_unknown_frame_type_is_named_by_its_number() -> None:
    assert PROTO.decode_client(_frame(b"\xfa\x01", b"")) == [f.Unknown("31")]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", "no frame"),
        (b"\x0a\x00", "frame 0: a frame with 0 types"),
        (b"\x0a\x06\xfa\x01\x00\xf2\x01\x00", "frame 0: a frame with 2 types"),
        (b"\xff", "not a Frames message"),
        (b'{"ping":{}}', "not a Frames message|no frame"),
        (b"\x0a\x0a\x12\x08\x12\x06\xff\xfe\xff\xff\xff\xff", "not a Frames message"),  # status not UTF-8
    ],
)
def test_refusals(message: bytes, error: str) -> None:
    with pytest.raises(FrameError, match=error):
        PROTO.decode_client(message)


@pytest.mark.parametrize(
    ("body", "error"),
    [(b"{", "not JSON"), (b"\xff", "not JSON"), (b"[" * 60_000, "not JSON"), (b'"\xff"', "not JSON")],
)
def test_a_body_that_is_not_json_is_refused(body: bytes, error: str) -> None:
    with pytest.raises(FrameError, match=error):
        PROTO.decode_client(pb.Frames(frame=[pb.Frame(call=pb.Call(id=1, path="/a", body=body))]).SerializeToString())


@pytest.mark.parametrize("grace", [float("nan"), float("inf"), 0.5])
def test_a_grace_that_is_no_factor_is_refused(grace: float) -> None:
    welcome = pb.Welcome(version=1, heartbeat=pb.Heartbeat(grace=grace))
    with pytest.raises(FrameError, match=r"welcome.heartbeat.grace"):
        PROTO.decode_server(pb.Frames(frame=[pb.Frame(welcome=welcome)]).SerializeToString())


def test_a_bare_welcome_has_the_protocols_defaults() -> None:
    (welcome,) = PROTO.decode_server(pb.Frames(frame=[pb.Frame(welcome=pb.Welcome(version=1))]).SerializeToString())
    assert welcome == f.Welcome(
        version=1, session="", time=0, heartbeat=f.Heartbeat(), window=32, max_frame=65_536, reconnect=f.Reconnect()
    )


@pytest.mark.parametrize("size", [0, 100, 127, 128, 5_000, 16_384, 60_000])
def test_flags_are_added_at_every_length_of_the_headers(size: int) -> None:
    prepared = PROTO.prepare_push(b'{"id":"7","title":"' + b"x" * size + b'"}')
    (push,) = PROTO.decode_server(PROTO.finish_push(prepared, again=True, via_vendor=True))
    assert push == f.Push(id=7, title="x" * size or None, again=True, via_vendor=True)


def _frame(tag: bytes, fields: bytes) -> bytes:
    frame = tag + bytes((len(fields),)) + fields
    return b"\x0a" + bytes((len(frame),)) + frame
