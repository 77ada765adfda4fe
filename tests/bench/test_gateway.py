"""The gateway's benchmark runs, and its books balance."""

import pytest
import uvloop

from bench.gateway import measure
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import JSON, PROTO


@pytest.mark.parametrize("codec", [JSON, PROTO], ids=lambda codec: codec.subprotocol)
def test_every_push_is_acked_once_and_paid_for(codec: Codec) -> None:
    result = uvloop.run(measure(codec, sessions=20, seconds=0.2, rate=500, batch=16, fanout=2))
    assert (result["remainder"], result["repeats_on_wire"]) == (0, 0)
    assert result["push_ack_us"] > 0
    assert result["sign_in_us"] >= 0
