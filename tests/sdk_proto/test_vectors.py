"""The golden vectors and this implementation agree."""

import json
from typing import Any

import msgspec
import pytest

from sdk_proto.wire import frames as f
from sdk_proto.wire import frames_pb2 as pb
from sdk_proto.wire.close import CloseCode, order_of
from sdk_proto.wire.codec import Codec, FrameError
from sdk_proto.wire.subprotocols import JSON, PROTO
from tests.sdk_proto.vectors import FOLDER, frame_of, load, names

FRAMES = load("frames")
SPELLINGS = [
    pytest.param(codec, vector, id=f"{key}: {vector['name']}")
    for vector in FRAMES
    for key, codec in (("json", JSON), ("proto", PROTO))
    if vector[key] is not None
]
REFUSED = [
    pytest.param(codec, vector, id=f"{key}: {vector['name']}")
    for vector in load("invalid")
    for key, codec in (("json", JSON), ("proto", PROTO))
    if vector[key] is not None
]


def message_of(codec: Codec, vector: Any) -> bytes:
    return bytes.fromhex(vector["proto"]) if codec.binary else vector["json"].encode()


def decode(codec: Codec, vector: Any) -> list[Any]:
    message = message_of(codec, vector)
    return list(codec.decode_client(message) if vector["direction"] == "client" else codec.decode_server(message))


def settled(frame: Any) -> Any:
    """The frame with its JSON normalised: a vector can't say how white space within it was written."""
    if isinstance(frame, f.Undecodable):
        return f.Undecodable(frame.id, "")
    return msgspec.structs.replace(
        frame,
        **{
            name: msgspec.Raw(msgspec.json.encode(json.loads(bytes(value))))
            for name, value in msgspec.structs.asdict(frame).items()
            if isinstance(value, msgspec.Raw) and bytes(value)
        },
    )


@pytest.mark.parametrize(("codec", "vector"), SPELLINGS)
def test_a_message_means_its_frames(codec: Codec, vector: Any) -> None:
    assert [settled(frame) for frame in decode(codec, vector)] == [frame_of(tree) for tree in vector["frames"]]


@pytest.mark.parametrize("vector", [vector for vector in FRAMES if vector["canonical"]], ids=names)
def test_frames_are_written_as_the_canonical_message(vector: Any) -> None:
    frames = [frame_of(tree) for tree in vector["frames"]]
    assert JSON.encode(frames).decode() == vector["json"]
    assert PROTO.encode(frames).hex() == vector["proto"]


@pytest.mark.parametrize(("codec", "vector"), REFUSED)
def test_an_invalid_message_is_refused(codec: Codec, vector: Any) -> None:
    with pytest.raises(FrameError):
        decode(codec, vector)


def test_every_frame_type_has_a_canonical_vector() -> None:
    covered = {next(iter(tree)) for vector in FRAMES if vector["canonical"] for tree in vector["frames"]}
    assert covered == {field.name for field in pb.Frame.DESCRIPTOR.fields}


@pytest.mark.parametrize("file", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_names_are_unique_and_the_readme_describes_the_file(file: str) -> None:
    all_names = [vector["name"] for vector in load(file) if "name" in vector]
    assert len(all_names) == len(set(all_names))
    assert f"`{file}.json`" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("vector", load("close"), ids=lambda vector: str(vector["code"]))
def test_a_close_code_orders_what_the_vector_says(vector: Any) -> None:
    assert order_of(vector["code"]).value == vector["order"]


def test_every_close_code_of_the_protocol_has_a_vector() -> None:
    assert set(CloseCode) <= {vector["code"] for vector in load("close")}
