"""Which codec a WebSocket subprotocol names."""

from collections.abc import Iterable

from sdk_proto.wire.codec import Codec
from sdk_proto.wire.json_codec import JsonCodec
from sdk_proto.wire.proto_codec import ProtoCodec

JSON: Codec = JsonCodec()
PROTO: Codec = ProtoCodec()
_CODECS = {codec.subprotocol: codec for codec in (PROTO, JSON)}
SUBPROTOCOLS: tuple[str, ...] = tuple(_CODECS)


def codec_for(subprotocol: str) -> Codec | None:
    """The codec of one subprotocol, or None: the connection is refused with HTTP 400."""
    return _CODECS.get(subprotocol)


def choose(offered: Iterable[str]) -> Codec | None:
    """The codec of the first subprotocol offered that is known: the client lists them in its order of preference (RFC 6455 §1.9).

    >>> choose(["chat", "taco.v1+json", "taco.v1+proto"]).subprotocol
    'taco.v1+json'
    """
    return next((codec for codec in map(codec_for, offered) if codec is not None), None)
