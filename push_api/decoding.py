"""Bytes or plain objects in, models out; whatever does not fit becomes a UserError with a code and the field's path.

msgspec checks types and bounds while it decodes, so a good request is walked once. Its complaints are sentences with a JSONPath at
the end; here they become the codes of the contract. Knows the models' shapes, no rules beyond them (those are in `validation.py`).

Silent points of JSON, decided: the last of two equal keys counts (RFC 8259 §4 leaves it open); a byte-order mark, NaN and lone
surrogates are not JSON (RFC 8259 §6, §8); a number beyond a double is a wrong value.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from push_api.models import Batch, Message, RawBatch
from push_core.errors import UserError

T = TypeVar("T")

_AT = re.compile(r"^(?P<what>.*) - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*)`$", re.DOTALL)
_TOO_MANY = re.compile(r"^Expected `(?:array|object)` of length <= (\d+)$")
_QUOTED = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`")
_JSON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_INDEX = re.compile(r"\[\d+\]")
_MAX_SHOWN = 100  # characters of a caller's own text in an error

_message = msgspec.json.Decoder(Message)
_batch = msgspec.json.Decoder(Batch)
_raw_batch = msgspec.json.Decoder(RawBatch)
_decoders: dict[Any, "msgspec.json.Decoder[Any]"] = {}


def decode(body: bytes, model: type[T]) -> T:
    """One JSON document as a model. Raises UserError: `bad_json`, or what the model refuses."""
    decoder = _decoders.get(model)
    if decoder is None:
        decoder = _decoders[model] = msgspec.json.Decoder(model)
    typed: msgspec.json.Decoder[T] = decoder
    return _decode(typed, body, model)


def decode_message(body: bytes) -> Message:
    return _decode(_message, body, Message)


def decode_batch(body: bytes) -> Sequence[Message | UserError]:
    """The messages of a batch in order, a UserError in place of each that is no message (its field starts with `messages[i]`).

    Raises UserError when the batch as a whole is at fault: not JSON, no `messages`, too many of them.
    """
    try:
        return _batch.decode(body).messages
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from None
    results: list[Message | UserError] = []
    for index, raw in enumerate(_decode(_raw_batch, body, Batch).messages):
        try:
            results.append(_message.decode(raw))
        except msgspec.ValidationError as error:
            results.append(refusal(error, Message, f"messages[{index}]"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise not_json(error) from None  # then the body is not JSON, whatever its other messages are
    return results


def convert(value: object, model: type[T], prefix: str = "") -> T:
    """A plain object (dicts, lists, scalars) as a model, refused like its JSON would be."""
    try:
        return msgspec.convert(value, model)
    except msgspec.ValidationError as error:
        raise refusal(error, model, prefix) from None


def not_json(error: Exception, field: str | None = None) -> UserError:
    if isinstance(error, RecursionError):
        why = "nested deeper than is read"
    elif isinstance(error, UnicodeDecodeError):
        why = "not UTF-8"
    else:
        why = str(error)
    return UserError(f"{field or 'the body'} is not readable JSON: {why}", code="bad_json", field=field)


def join(prefix: str, path: str) -> str:
    """
    >>> join("messages[3]", "ttl"), join("", "ttl"), join("messages[3]", "")
    ('messages[3].ttl', 'ttl', 'messages[3]')
    """
    return f"{prefix}.{path}" if prefix and path else prefix or path


def refusal(error: msgspec.ValidationError, model: Any, prefix: str = "") -> UserError:
    """The UserError for msgspec's complaint about a value of `model` that stands at `prefix` of the request."""
    text = str(error)
    match = _AT.match(text)
    what, path = (match["what"], match["path"]) if match else (text, "")
    if what.startswith("Expected "):
        what = _QUOTED.sub(_in_json, what)
    path = path.removeprefix(".").split("[...]")[0]  # below a mapping msgspec names no key: the mapping is named
    at = join(prefix, path)
    if unknown := _UNKNOWN.match(what):
        name = unknown[1][:_MAX_SHOWN]
        near = difflib.get_close_matches(name, _fields_at(model, path), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        return UserError(f"there is no field {name}{hint}", code="unknown_field", field=join(at, name))
    if missing := _MISSING.match(what):
        return UserError(f"{missing[1]} is missing", code="missing_field", field=join(at, missing[1]))
    if many := _TOO_MANY.match(what):
        return UserError(f"{at} takes at most {many[1]}", code="too_many", field=at)
    if match and match["key"]:
        what = f"a name in it is wrong: {what}"
    if what.startswith("Invalid enum value"):
        what = f"{what[:_MAX_SHOWN]}; it is one of {', '.join(_choices_at(model, path))}"
    return UserError(f"{at or 'the body'}: {what}", code="invalid", field=at or None)


def _in_json(quoted: re.Match[str]) -> str:
    """Python's names of types become JSON's: callers write in any language."""
    return f"`{' | '.join(_JSON_TYPES.get(word, word) for word in quoted[1].split(' | '))}`"


def _decode(decoder: "msgspec.json.Decoder[T]", body: bytes, model: Any) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise refusal(error, model) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from None


def _type_at(model: Any, path: str) -> msgspec.inspect.Type:
    """What the model has at a path like `messages[3].target`; below an object without a model, that object."""
    found = msgspec.inspect.type_info(model)
    for part in _INDEX.sub(".[]", path).split("."):
        if part == "[]" and isinstance(found, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
            found = found.item_type
        elif part and isinstance(found, msgspec.inspect.StructType):
            found = next((field.type for field in found.fields if field.name == part), found)
        while isinstance(found, msgspec.inspect.UnionType | msgspec.inspect.Metadata):
            if isinstance(found, msgspec.inspect.Metadata):
                found = found.type
            else:
                found = next(kind for kind in found.types if not isinstance(kind, msgspec.inspect.NoneType))
    return found


def _fields_at(model: Any, path: str) -> list[str]:
    found = _type_at(model, path)
    return [field.name for field in found.fields] if isinstance(found, msgspec.inspect.StructType) else []


def _choices_at(model: Any, path: str) -> list[str]:
    found = _type_at(model, path)
    return [member.value for member in found.cls] if isinstance(found, msgspec.inspect.EnumType) else []
