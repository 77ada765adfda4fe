"""The rules of a message and of names that types can't say. Pure: values in, a Draft or a UserError out.

What the contract leaves open is decided here:

- A message without `kind` is a notification; a notification needs a title or a body that is not empty. A passthrough may have them,
  or nothing at all.
- The 4,096 bytes are the JSON encodings of title, body and data added up: quotes and escapes count, field names don't.
- `vendor` overrides have 4,096 bytes of their own, and name a channel by `[a-z0-9_-]`, at most 32 characters.
- `data` and `vendor` nest at most 32 levels, and their integers fit 64 bits: what every client and store can read again.
- A live broadcast (`topic`, `all`) is the caller's own word: `ttl` 0 has to be said.
- `ttl` 0 (only if connected now) rules out `channels: vendor`.
- Names (device, alias, collapse and idempotency key) are 1–128 characters without control characters (Unicode category Cc).
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from push_api.decoding import join
from push_api.drafts import Content, Draft
from push_api.models import (
    DEFAULT_ACK_TIMEOUT,
    DEFAULT_TTL,
    MAX_CONTENT,
    MAX_NAME,
    MAX_VENDOR,
    Message,
    Registration,
    Target,
    TopicList,
)
from push_core.errors import UserError
from push_core.models import Channels, Kind, Priority
from push_core.topics import MAX_TOPIC, is_topic

MAX_DEPTH = 32
_INT_LOW, _INT_HIGH = -(2**63), 2**64 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CHANNEL = re.compile(r"[a-z0-9_-]{1,32}\Z")
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def draft_of(message: Message, *, key: str | None = None, at: str = "") -> Draft:
    """The message as it will be committed, but for id and time. `key` is the request's own idempotency key, `at` the message's place in the
    request (`messages[3]`). Raises UserError."""
    to = _target(message.target, at)
    kind = message.kind or Kind.NOTIFICATION
    if kind is Kind.NOTIFICATION and not (message.title or message.body):
        raise UserError(
            "a notification needs a title or a body (kind passthrough needs neither)",
            code="missing_field",
            field=join(at, "title"),
        )
    ttl = DEFAULT_TTL if message.ttl is None else message.ttl
    if ttl and (to.topic is not None or to.everyone):
        kind_of_target = "all" if to.everyone else "topic"
        raise UserError(
            f"target {kind_of_target} is offered live only, to who is connected now: with ttl 0; nothing is kept for the others yet",
            code="not_available",
            field=join(at, "ttl"),
        )
    channels = message.channels or Channels.AUTO
    if ttl == 0 and channels is Channels.VENDOR:
        raise UserError(
            "ttl 0 means only if connected now, which no vendor can promise", code="invalid", field=join(at, "ttl")
        )
    if message.data:
        _check_tree(message.data, join(at, "data"))
    if message.vendor:
        _check_vendor(message.vendor, join(at, "vendor"))
    collapse = message.collapse
    if collapse is not None:
        check_name(collapse, "collapse", at)
    priority = message.priority or Priority.NORMAL
    content = _encode(
        Content(
            kind=kind,
            title=message.title,
            body=message.body,
            data=message.data,
            collapse=collapse,
            priority=priority,
        )
    )
    if len(content) > MAX_CONTENT:  # rarely; only then is it worth measuring what counts
        _check_size(message, at)
    draft = Draft(
        devices=list(to.devices),
        alias=to.alias,
        topic=to.topic,
        everyone=to.everyone,
        content=content[1:-1],
        kind=kind,
        priority=priority,
        channels=channels,
        collapse=collapse,
        ttl_ms=ttl * 1_000,
        ack_timeout_ms=(message.ack_timeout or DEFAULT_ACK_TIMEOUT) * 1_000,
        vendor=message.vendor,
    )
    own = message.idempotency_key
    if own is not None:
        check_name(own, "idempotency_key", at)
        if key is not None and own != key:
            raise UserError(
                "idempotency_key and the Idempotency-Key header differ",
                code="invalid",
                field=join(at, "idempotency_key"),
            )
        key = own
    if key is None:
        return draft
    return msgspec.structs.replace(draft, key=key, digest=_digest(message, draft))


def check_name(name: str, field: str, at: str = "") -> str:
    """A name of a device, an alias, a collapse or idempotency key, in `field` of what stands at `at`. Raises UserError."""
    if not 1 <= len(name) <= MAX_NAME:
        field = join(at, field)
        raise UserError(f"{field} must have 1 to {MAX_NAME} characters", code="invalid", field=field)
    if _CONTROL.search(name):
        field = join(at, field)
        raise UserError(f"{field} must not have control characters", code="invalid", field=field)
    return name


def check_topic(topic: str, field: str, at: str = "") -> str:
    """Raises UserError."""
    if not is_topic(topic):
        field = join(at, field)
        raise UserError(
            f"{field} must have 1 to {MAX_TOPIC} letters, digits and _ . : / -", code="invalid", field=field
        )
    return topic


def check_topics(given: TopicList) -> list[str]:
    """Raises UserError."""
    return [check_topic(topic, f"topics[{index}]") for index, topic in enumerate(given.topics)]


def check_registration(record: Registration) -> Registration:
    """Raises UserError for what a registration's types let by."""
    for field in ("alias", "platform", "locale", "time_zone", "app_version"):
        value = getattr(record, field)
        if value is not None:
            check_name(value, field)
    for index, tag in enumerate(record.tags or ()):
        if tag.endswith("\n"):  # `$` of a pattern lets one by
            raise UserError(f"tags[{index}] must not have control characters", code="invalid", field=f"tags[{index}]")
    for channel, token in (record.vendor_tokens or {}).items():
        _check_channel(channel, "vendor_tokens")
        if _CONTROL.search(token):
            raise UserError(
                f"the token of {channel} must not have control characters", code="invalid", field="vendor_tokens"
            )
    return record


class _To(NamedTuple):
    """A target, checked."""

    devices: Sequence[str] = ()
    alias: str | None = None
    topic: str | None = None
    everyone: bool = False


def _target(target: Target, at: str) -> _To:
    values = msgspec.structs.astuple(target)
    if values.count(None) != len(values) - 1:
        given = [name for name in target.__struct_fields__ if getattr(target, name) is not None]
        got = f"two or more: {', '.join(given)}" if given else "none"
        raise UserError(
            f"target needs exactly one of device, devices, alias, topic, all; it has {got}",
            code="invalid",
            field=join(at, "target"),
        )
    if target.device is not None:
        return _To([check_name(target.device, "target.device", at)])
    if target.alias is not None:
        return _To(alias=check_name(target.alias, "target.alias", at))
    if target.devices is not None:
        for index, device in enumerate(target.devices):
            check_name(device, f"target.devices[{index}]", at)
        if len(set(target.devices)) != len(target.devices):
            raise UserError("target.devices names a device twice", code="invalid", field=join(at, "target.devices"))
        return _To(target.devices)
    if target.topic is not None:
        return _To(topic=check_topic(target.topic, "target.topic", at))
    if target.all is not None:
        if not target.all:
            raise UserError("target.all is true or left out", code="invalid", field=join(at, "target.all"))
        return _To(everyone=True)
    [name] = (name for name in target.__struct_fields__ if getattr(target, name) is not None)
    raise UserError(
        f"target {name} is not offered by this server; device, devices, alias, topic and all are",
        code="not_available",
        field=join(at, f"target.{name}"),
    )


def _check_size(message: Message, at: str) -> None:
    parts = (message.title, message.body, message.data)
    size = sum(len(_encode(part)) for part in parts if part is not None)
    if size > MAX_CONTENT:
        field = "data" if message.data is not None else "body" if message.body is not None else "title"
        raise UserError(
            f"title, body and data have {size} bytes together, encoded as JSON; the limit is {MAX_CONTENT}",
            code="too_large",
            field=join(at, field),
        )


def _check_vendor(vendor: dict[str, dict[str, Any]], at: str) -> None:
    for channel in vendor:
        _check_channel(channel, at)
    _check_tree(vendor, at)
    size = len(_encode(vendor))
    if size > MAX_VENDOR:
        raise UserError(
            f"vendor has {size} bytes, encoded as JSON; the limit is {MAX_VENDOR}", code="too_large", field=at
        )


def _check_channel(channel: str, at: str) -> None:
    if not _CHANNEL.match(channel):
        raise UserError(f"{at}: a channel's name is 1 to 32 of a-z, 0-9, _ and -", code="invalid", field=at)


def _check_tree(root: dict[str, Any], at: str) -> None:
    """Depth and integers of a JSON object, without recursion: the input may be nested as deep as the decoder goes."""
    level: list[Any] = [root]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for node in level:
            for value in node.values() if type(node) is dict else node:
                kind = type(value)
                if kind is dict or kind is list:
                    deeper.append(value)
                elif kind is int and not _INT_LOW <= value <= _INT_HIGH:
                    raise UserError(f"{at} has an integer of more than 64 bits", code="invalid", field=at)
        if not deeper:
            return
        level = deeper
    raise UserError(f"{at} is nested deeper than {MAX_DEPTH} levels", code="invalid", field=at)


def _digest(message: Message, draft: Draft) -> bytes:
    """What two requests must share to be one and the same: everything but the key, with defaults filled in and object keys in order."""
    meaning: tuple[Any, ...] = (
        draft.devices,
        draft.alias,
        draft.kind,
        message.title,
        message.body,
        message.data,
        draft.priority,
        draft.ttl_ms,
        draft.collapse,
        draft.channels,
        draft.ack_timeout_ms,
        draft.vendor,
    )
    if draft.topic is not None or draft.everyone:  # the digests of all others stay what they were in the release before
        meaning = (*meaning, draft.topic, draft.everyone)
    return hashlib.sha256(_encode_sorted(meaning)).digest()
