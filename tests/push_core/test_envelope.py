import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core.envelope import (
    Envelope,
    Work,
    decode,
    decode_batch,
    encode,
    encode_batch,
    join_batch,
    queue_name,
    split_batch,
    vendor_queue_name,
)
from push_core.models import Channels, Kind, Priority

numbers = st.integers(0, (1 << 63) - 1)
envelopes = st.builds(
    Envelope,
    id=numbers,
    app=st.text(),
    devices=st.lists(st.text(), max_size=5),
    alias=st.none() | st.text(),
    push=st.binary(max_size=200),
    kind=st.sampled_from(Kind),
    priority=st.sampled_from(Priority),
    channels=st.sampled_from(Channels),
    collapse=st.none() | st.text(),
    sent=numbers,
    expires=numbers,
    ack_timeout_ms=numbers,
    live_only=st.booleans(),
    vendor=st.none()
    | st.dictionaries(st.text(), st.dictionaries(st.text(), st.text() | numbers | st.none(), max_size=2), max_size=2),
    traceparent=st.text(),
    queue_class=st.text(),
    work=st.sampled_from(Work),
    repeat=st.booleans(),
)


def envelope(**changes: object) -> Envelope:
    made = Envelope(
        id=7, app="courier", devices=["d-1"], alias=None, push=b'{"id":"7"}', kind=Kind.NOTIFICATION,
        priority=Priority.NORMAL, channels=Channels.AUTO, collapse=None, sent=1, expires=2, ack_timeout_ms=3,
        live_only=False, vendor=None, traceparent="",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


@given(envelopes)
def test_an_envelope_comes_back_as_it_was(one: Envelope) -> None:
    assert decode(encode(one)) == one


@given(st.lists(envelopes, max_size=5))
def test_a_batch_comes_back_whole_and_apart_and_can_be_joined_again(batch: list[Envelope]) -> None:
    body = encode_batch(batch)
    assert decode_batch(body) == batch
    parts = split_batch(body)
    assert [decode(part) for part in parts] == batch
    assert join_batch(parts) == body


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_a_decode_error(body: bytes) -> None:
    for read in (decode, decode_batch, split_batch):
        try:
            read(body)
        except msgspec.DecodeError:
            continue


def test_one_unreadable_envelope_can_be_told_from_its_neighbours() -> None:
    poison = msgspec.msgpack.encode(["not", "an", "envelope"])
    body = join_batch([encode(envelope(id=1)), poison, encode(envelope(id=2))])
    with pytest.raises(msgspec.DecodeError):
        decode_batch(body)
    readable = []
    for part in split_batch(body):
        try:
            readable.append(decode(part).id)
        except msgspec.DecodeError:
            assert part == poison
    assert readable == [1, 2]


def test_a_later_versions_further_field_is_passed_over_and_an_earlier_versions_missing_ones_have_defaults() -> None:
    fields = msgspec.msgpack.decode(encode(envelope(queue_class="big", repeat=True)))
    later = msgspec.msgpack.encode([*fields, "a field of the next release"])
    assert decode(later) == envelope(queue_class="big", repeat=True)
    earlier = msgspec.msgpack.encode(fields[: Envelope.__struct_fields__.index("queue_class")])
    assert decode(earlier) == envelope()


@pytest.mark.parametrize("change", [(0, "seven"), (5, "shout"), (6, "asap"), (16, 9)], ids=str)
def test_a_field_of_the_wrong_kind_is_refused(change: tuple[int, object]) -> None:
    fields = msgspec.msgpack.decode(encode(envelope()))
    fields[change[0]] = change[1]
    with pytest.raises(msgspec.DecodeError):
        decode(msgspec.msgpack.encode(fields))


def test_queues_are_named_by_class_and_priority_and_by_vendor_channel() -> None:
    assert queue_name("shared", Priority.URGENT) == "push.shared.urgent"
    assert vendor_queue_name("fcm") == "vendor.fcm"
    names = {queue_name(c, p) for c in ("shared", "big") for p in Priority}
    assert len(names) == 8
