"""The bounds of heartbeats from control: who gets them when, and what becomes of a value that makes no sense."""

from typing import Any

import pytest
import structlog

from push_gateway.heartbeats import CONTROL_KEY, policy_from_value
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.heartbeat import HeartbeatPolicy
from sdk_proto.wire.server import Signed
from tests.push_gateway.support import Client, Node

USUAL = HeartbeatPolicy()


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ({}, USUAL),
        ({"min": 30}, HeartbeatPolicy(min_s=30)),
        ({"max": 180}, HeartbeatPolicy(max_s=180, default_s=180)),
        ({"min": 300}, HeartbeatPolicy(min_s=300, default_s=300)),
        ({"min": 10, "max": 20, "default": 15, "grace": 2, "burst": 9}, HeartbeatPolicy(10, 20, 15, 2, 9)),
        ({"grace": 1.25, "default": None, "later": [1]}, HeartbeatPolicy(grace=1.25)),
    ],
)
def test_what_is_named_goes_over_the_settings(value: Any, policy: HeartbeatPolicy) -> None:
    assert policy_from_value(value, USUAL) == policy


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (7, "must be an object of min, max"),
        ({"min": 0}, "heartbeat.min: 0 is not a whole number from 1 to 86400"),
        ({"min": True}, "heartbeat.min: True is not"),
        ({"max": 90.5}, "heartbeat.max: 90.5 is not a whole number"),
        ({"max": 86_401}, "heartbeat.max: 86401 is not"),
        ({"default": "60"}, "heartbeat.default: '60' is not"),
        ({"grace": 0.5}, "heartbeat.grace: 0.5 is not a number from 1 to 10"),
        ({"grace": float("nan")}, "heartbeat.grace: nan is not"),
        ({"burst": 0}, "heartbeat.burst: 0 is not"),
        ({"max": 30}, "min 60 ≤ default 30 ≤ max 30 does not hold"),
        ({"min": 100, "default": 90}, "min 100 ≤ default 90 ≤ max 600 does not hold"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match="heartbeat") as refused:
        policy_from_value(value, USUAL)
    assert sentence in str(refused.value)


async def set_bounds(node: Node, value: Any) -> None:
    """As an operator would; the gateway polls each second, which nobody waits for here."""
    await node.ports.control.control.put(CONTROL_KEY, value)
    await node.ports.control.poll()


async def ping(client: Client, next_s: int | None = None) -> int | None:
    """The interval that the pong names."""
    await client.send(f.Ping(next_s))
    pong = await client.receive()
    assert isinstance(pong, f.Pong)
    return pong.next


async def test_new_sessions_get_new_bounds_at_once_and_living_ones_with_their_next_ping(
    node: Node, codec: Codec
) -> None:
    before = await node.client(codec)
    welcome = await before.sign_in("before", heartbeat=500)
    assert welcome.heartbeat == f.Heartbeat(min=60, max=600, grace=1.5, next=500)
    await set_bounds(node, {"min": 20, "max": 120, "default": 100, "grace": 2.0})
    after = await node.client(codec)
    welcome = await after.sign_in("after", heartbeat=500)
    assert welcome.heartbeat == f.Heartbeat(min=20, max=120, grace=2.0, next=120)
    assert await ping(before, 500) == 120
    assert await ping(before) is None  # told already
    assert await ping(before, 30) is None
    await set_bounds(node, None)
    assert await ping(before) == 60
    assert (await (await node.client(codec)).sign_in("later")).heartbeat == f.Heartbeat()


async def test_a_silence_is_as_long_as_the_session_was_told(node: Node) -> None:
    client = await node.device(heartbeat=500)
    (connection,) = node.gateway._context.registry.signed.values()
    await set_bounds(node, {"max": 60})
    session = connection._state
    assert isinstance(session, Signed)
    assert session.due == pytest.approx(node.gateway._clock.monotonic() + 750, abs=30)
    assert await ping(client, 500) == 60
    assert session.due == pytest.approx(node.gateway._clock.monotonic() + 90, abs=30)


async def test_bounds_that_make_no_sense_are_refused_and_those_before_hold(node: Node) -> None:
    await set_bounds(node, {"min": 20, "default": 40})
    with structlog.testing.capture_logs() as logs:
        await set_bounds(node, {"min": 20, "default": 4})
    (refusal,) = [entry for entry in logs if "refused" in entry["event"]]
    assert "min 20 ≤ default 4 ≤ max 600 does not hold" in refusal["error"]
    welcome = await (await node.client()).sign_in()
    assert (welcome.heartbeat.min, welcome.heartbeat.next) == (20, 40)
