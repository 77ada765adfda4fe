import json

from push_api import models, proto
from push_api.models import DeviceRecord, MessageStatus, Registration
from push_core.lifecycle import State
from sdk_proto.rpc import push_pb2 as pb


def test_every_field_of_a_message_has_a_word_in_both_doors() -> None:
    over_http = set(models.Message.__struct_fields__)
    assert set(pb.DESCRIPTOR.message_types_by_name["Message"].fields_by_name) == over_http
    over_http = set(Registration.__struct_fields__)
    assert set(pb.DESCRIPTOR.message_types_by_name["Registration"].fields_by_name) == over_http


def test_what_protobuf_leaves_empty_was_not_given() -> None:
    made = proto.message_of(pb.Message(target=pb.Target(device="a"), title="", body="x"))
    assert made == models.Message(target=models.Target(device="a"), title="", body="x")
    assert proto.registration_of(pb.Registration()) == Registration()


def test_numbers_of_data_are_exact() -> None:
    data = {"big": 2**63, "small": 0.1, "nested": [{"a": None}]}
    made = proto.message_of(pb.Message(target=pb.Target(device="a"), data=json.dumps(data).encode()))
    assert made.data == data


def test_a_status_without_the_rest_is_empty_there() -> None:
    status = MessageStatus(
        id="7", state=State.ACCEPTED, reason=None, counts={}, recalled_at=None, deliveries=[], next=None
    )
    assert proto.status_reply(status) == pb.MessageStatus(id="7", state="accepted")


def test_a_record_without_the_rest_is_empty_there() -> None:
    record = DeviceRecord(
        device="d",
        alias=None,
        tags=(),
        platform=None,
        vendor_tokens={},
        locale=None,
        time_zone=None,
        app_version=None,
        blocked=True,
        updated=9,
        topics=("a", "b"),
    )
    reply = proto.device_reply(record)
    assert (reply.device, reply.blocked, reply.updated, tuple(reply.topics)) == ("d", True, 9, ("a", "b"))
    assert reply.registration == pb.Registration()
