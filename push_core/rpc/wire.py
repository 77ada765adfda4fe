"""The calls between programs as bytes: names of services and methods, MessagePack of their arguments and answers.

Knows nothing of the transport. Structs are arrays: a later release may add fields at the end with defaults.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from push_core.rpc.port import Broadcast, Deliver, Delivered, Kick, Poke, Receipt, Subscription, Tally

NODE = "taco.internal.v1.Node"
RECEIPTS = "taco.internal.v1.Receipts"

Q = TypeVar("Q")
A = TypeVar("A")

_encoder = msgspec.msgpack.Encoder()


class Method(Generic[Q, A]):
    """One call: `Q` goes there, `A` comes back. Decoding raises msgspec.DecodeError."""

    def __init__(self, service: str, name: str, ask: Any, answer: Any) -> None:
        self.service = service
        self.name = name
        self.path = f"/{service}/{name}"
        self._ask: msgspec.msgpack.Decoder[Q] = msgspec.msgpack.Decoder(ask)
        self._answer: msgspec.msgpack.Decoder[A] = msgspec.msgpack.Decoder(answer)

    def encode_ask(self, ask: Q) -> bytes:
        return _encoder.encode(ask)

    def decode_ask(self, body: bytes) -> Q:
        return self._ask.decode(body)

    def encode_answer(self, answer: A) -> bytes:
        return _encoder.encode(answer)

    def decode_answer(self, body: bytes) -> A:
        return self._answer.decode(body)


DELIVER: Method[Deliver, Delivered] = Method(NODE, "Deliver", Deliver, Delivered)
KICK: Method[list[Kick], list[bool]] = Method(NODE, "Kick", list[Kick], list[bool])
POKE: Method[list[Poke], None] = Method(NODE, "Poke", list[Poke], None)
BROADCAST: Method[Broadcast, list[Tally]] = Method(NODE, "Broadcast", Broadcast, list[Tally])
SUBSCRIBE: Method[list[Subscription], list[bool]] = Method(NODE, "Subscribe", list[Subscription], list[bool])
REPORT: Method[list[Receipt], Sequence[int] | None] = Method(RECEIPTS, "Report", list[Receipt], list[int] | None)
