"""Neighbouring releases must understand each other: what is on the wire may only grow at its end."""

import msgspec
import pytest

from push_core.rpc.port import Deliver, Delivered, Kick, Offer, Poke, Receipt, ReceiptKind
from push_core.rpc.wire import DELIVER, KICK, POKE, REPORT

OFFER = Offer(id=7, app="a", devices=["d"], push=b"{}", expires=9, ack_timeout_ms=5)


def test_a_call_is_an_array_of_arrays_with_bytes_as_bytes() -> None:
    body = DELIVER.encode_ask(Deliver("gw-1.a", 3, [OFFER], "t"))
    assert msgspec.msgpack.decode(body) == [
        "gw-1.a", 3, [[7, "a", ["d"], b"{}", 9, 5, 2, False, False, False, False]], "t",
    ]  # fmt: skip
    assert DELIVER.decode_answer(DELIVER.encode_answer(Delivered(b"\x00\x01"))) == Delivered(b"\x00\x01")


def test_a_later_release_may_add_a_field_at_the_end() -> None:
    later = msgspec.msgpack.encode([[7, "courier", "d-1", 0, 1, 0, 0, True, "a field of the next release"]])
    assert REPORT.decode_ask(later) == [Receipt(7, "courier", "d-1", ReceiptKind.RECEIVED, 1)]


def test_an_earlier_release_leaves_out_the_last_fields() -> None:
    assert REPORT.decode_ask(msgspec.msgpack.encode([[7, "courier", "d-1", 2, 1]])) == [
        Receipt(7, "courier", "d-1", ReceiptKind.CLICKED, 1)
    ]
    assert KICK.decode_ask(msgspec.msgpack.encode([["courier", "d-1", -1, 4304]])) == [Kick("courier", "d-1", -1, 4304)]


def test_an_answer_may_be_nothing() -> None:
    assert POKE.decode_answer(POKE.encode_answer(None)) is None
    assert POKE.decode_ask(POKE.encode_ask([Poke("courier", "d-1")])) == [Poke("courier", "d-1")]


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\xc0", b"\x91\x91\x07", b"\x91\x95\x07\xa1a\xa1d\x63\x01"])
def test_what_is_no_call_is_a_decode_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        REPORT.decode_ask(body)
