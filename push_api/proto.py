"""Between the messages of `push.proto` and the models: what the gRPC door says in its own types, as HTTP says it in JSON.

A request becomes the plain object that its JSON would be and goes through the same models, so that both doors refuse the same things with
the same field paths. In protobuf an empty text or list that can't be left out means: not given.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from push_api.decoding import convert, join, not_json
from push_api.models import MAX_BATCH, DeviceRecord, Message, MessageStatus, Problem, Registration, TopicList
from push_core.errors import UserError
from sdk_proto.rpc import push_pb2 as pb

_JSON = msgspec.json.Decoder()


def message_in(given: pb.SendRequest) -> Message:
    """Raises UserError."""
    if not given.HasField("message"):
        raise UserError("message is missing", code="missing_field", field="message")
    return message_of(given.message)


def messages_in(given: pb.SendBatchRequest) -> list[Message | UserError]:
    """The messages of a batch in order, a UserError in place of each that is no message. Raises UserError when the batch is at fault."""
    if not given.messages:
        raise UserError("messages is missing", code="missing_field", field="messages")
    if len(given.messages) > MAX_BATCH:
        raise UserError(f"messages takes at most {MAX_BATCH}", code="too_many", field="messages")
    messages: list[Message | UserError] = []
    for index, one in enumerate(given.messages):
        try:
            messages.append(message_of(one, f"messages[{index}]"))
        except UserError as error:
            messages.append(error)
    return messages


def message_of(given: pb.Message, at: str = "") -> Message:
    """Raises UserError."""
    plain: dict[str, Any] = {}
    if given.HasField("target"):
        plain["target"] = _target(given.target)
    for name in ("kind", "priority", "collapse", "channels", "idempotency_key"):
        if value := getattr(given, name):
            plain[name] = value
    for name in ("title", "body", "ttl", "ack_timeout"):
        if given.HasField(name):
            plain[name] = getattr(given, name)
    if given.data:
        plain["data"] = _object(given.data, join(at, "data"))
    if given.vendor:
        plain["vendor"] = {channel: _object(text, join(at, "vendor")) for channel, text in given.vendor.items()}
    return convert(plain, Message, at)


def registration_of(given: pb.Registration) -> Registration:
    """Raises UserError."""
    plain: dict[str, Any] = {}
    for name in ("alias", "platform", "locale", "time_zone", "app_version"):
        if value := getattr(given, name):
            plain[name] = value
    if given.tags:
        plain["tags"] = list(given.tags)
    if given.vendor_tokens:
        plain["vendor_tokens"] = dict(given.vendor_tokens)
    return convert(plain, Registration)


def topics_of(given: pb.TopicsRequest) -> TopicList:
    """Raises UserError."""
    return convert({"topics": list(given.topics)}, TopicList)


def status_reply(status: MessageStatus) -> pb.MessageStatus:
    return pb.MessageStatus(
        id=status.id,
        state=status.state,
        reason=status.reason or "",
        counts=status.counts,
        recalled_at=status.recalled_at,
        deliveries=[
            pb.Delivery(
                device=row.device,
                channel=row.channel or "",
                state=row.state,
                reason=row.reason or "",
                at=row.at,
            )
            for row in status.deliveries
        ],
        next=status.next or "",
    )


def device_reply(record: DeviceRecord) -> pb.Device:
    return pb.Device(
        device=record.device,
        registration=pb.Registration(
            alias=record.alias or "",
            tags=record.tags,
            platform=record.platform or "",
            vendor_tokens=record.vendor_tokens,
            locale=record.locale or "",
            time_zone=record.time_zone or "",
            app_version=record.app_version or "",
        ),
        blocked=record.blocked,
        updated=record.updated,
        topics=record.topics,
    )


def error_reply(problem: Problem) -> pb.Error:
    return pb.Error(code=problem.code, message=problem.message, field=problem.field or "", retry=problem.retry)


def _target(given: pb.Target) -> Mapping[str, object]:
    kind = given.WhichOneof("to")
    if kind is None:
        return {}
    if kind == "devices":
        return {"devices": list(given.devices.names)}
    return {kind: getattr(given, kind)}


def _object(text: bytes, field: str) -> Any:
    try:
        return _JSON.decode(text)
    except msgspec.ValidationError as error:  # a number beyond a double
        raise UserError(f"{field}: {error}", code="invalid", field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error, field) from None
