"""What callers in the field depend on: names and numbers never change."""

from sdk_proto.rpc import push_pb2 as pb

NUMBERS = {
    "Message": {
        "target": 1,
        "kind": 2,
        "title": 3,
        "body": 4,
        "data": 5,
        "priority": 6,
        "ttl": 7,
        "collapse": 8,
        "channels": 9,
        "ack_timeout": 10,
        "vendor": 11,
        "idempotency_key": 12,
    },
    "SendReply": {"id": 1, "state": 2},
    "Error": {"code": 1, "message": 2, "field": 3, "retry": 4},
    "MessageStatus": {
        "id": 1,
        "state": 2,
        "reason": 3,
        "counts": 4,
        "recalled_at": 5,
        "deliveries": 6,
        "next": 7,
    },
    "Delivery": {"device": 1, "channel": 2, "state": 3, "reason": 4, "at": 5},
    "Registration": {
        "alias": 1,
        "tags": 2,
        "platform": 3,
        "vendor_tokens": 4,
        "locale": 5,
        "time_zone": 6,
        "app_version": 7,
    },
    "Target": {"device": 1, "devices": 2, "alias": 3, "topic": 4, "all": 5},
    "TopicsRequest": {"device": 1, "topics": 2},
    "Device": {"device": 1, "registration": 2, "blocked": 3, "updated": 4, "topics": 5},
    "Presence": {"online": 1, "node": 2, "since": 3},
}


def test_numbers_of_fields_stay_as_they_are() -> None:
    for name, numbers in NUMBERS.items():
        fields = pb.DESCRIPTOR.message_types_by_name[name].fields_by_name
        assert {field: fields[field].number for field in numbers} == numbers


def test_the_service_has_the_methods_of_the_contract() -> None:
    service = pb.DESCRIPTOR.services_by_name["Push"]
    assert service.full_name == "taco.push.v1.Push"
    assert set(service.methods_by_name) == {
        "Send",
        "SendBatch",
        "GetMessage",
        "Recall",
        "PutDevice",
        "GetDevice",
        "ForgetDevice",
        "GetPresence",
        "Disconnect",
        "Block",
        "Unblock",
        "Subscribe",
        "Unsubscribe",
    }
