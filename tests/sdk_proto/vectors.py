"""Reads the golden vectors and turns their plain objects into frames, without the codecs that they check."""

import json
import types
import typing
from pathlib import Path
from typing import Any

import msgspec

import sdk_proto.vectors
from sdk_proto.wire import frames as f

FOLDER = Path(sdk_proto.vectors.__file__).parent
_CLASSES = {cls.__name__.lower(): cls for cls in typing.get_args(f.ClientFrame | f.ServerFrame)}
_CLASSES["state"] = _CLASSES.pop("statechange")


def load(name: str) -> list[Any]:
    vectors = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["vectors"]
    assert isinstance(vectors, list)
    assert vectors
    return vectors


def names(vector: Any) -> str:
    return str(vector["name"]) if isinstance(vector, dict) and "name" in vector else ""


def frame_of(tree: dict[str, dict[str, Any]]) -> Any:
    """One frame of a vector's `frames`. Every field must be there, so that a vector leaves nothing to guess."""
    ((name, fields),) = tree.items()
    cls = _CLASSES[name]
    if cls is f.Undecodable:
        return f.Undecodable(int(fields["id"]), "")
    hints = typing.get_type_hints(cls)
    assert set(fields) == set(hints), f"{name}: {set(fields) ^ set(hints)}"
    return cls(**{field: _value(name, field, hint, fields[field]) for field, hint in hints.items()})


def _value(name: str, field: str, hint: Any, value: Any) -> Any:
    if hint is msgspec.Raw:
        return msgspec.Raw() if value is None else msgspec.Raw(msgspec.json.encode(value))
    if name in ("push", "recall") and field == "id":
        return int(value)
    if name == "ack" and field == "ids":
        return tuple(int(text) for text in value)
    if typing.get_origin(hint) is tuple:
        return tuple(value)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint(**value)
    assert not isinstance(hint, types.UnionType) or isinstance(value, typing.get_args(hint))
    return value
