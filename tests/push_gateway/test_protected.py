"""Nobody takes more than is theirs: what a session sends, how often a device comes back, how many an app has, and what a node can hold."""

import asyncio

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from push_core.metrics.catalogue import Metric
from push_core.models import App
from push_gateway.guard.memory import Reading
from push_gateway.link import Link
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from tests.push_gateway.support import APP, SECRET, Client, Node, Site, offer
from tests.push_gateway.test_connection import Raw, gone
from tests.push_gateway.test_whose_connection import counted


async def bye_of(client: Client) -> f.Bye:
    while not isinstance(frame := await client.receive(), f.Bye):
        pass
    assert await client.closed() == frame.code
    return frame


async def refused(node: Node, device: str = "d-1") -> f.Bye:
    client = await node.client()
    await client.hello(device)
    return await bye_of(client)


# ── what one session sends ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_that_sends_too_many_frames_rests_and_its_neighbour_notices_nothing(
    site: Site, codec: Codec
) -> None:
    node = await site.node(session_frames_per_s=10.0, session_burst_s=2.0, flapping_drops=0)
    loud, good = await node.device("loud", codec), await node.device("good", codec)
    for _ in range(40):
        await loud.send(f.StateChange(app="foreground"))
    bye = await bye_of(loud)
    assert (bye.code, bye.reason, bye.retry_after_ms) == (4003, "too many frames", 2_000)
    await good.pong()
    assert counted(node, Metric.LIMITED, limit="session_frames") == 1
    await gone_but(node, 1)


async def test_a_session_that_sends_too_many_bytes_rests(site: Site) -> None:
    node = await site.node(session_bytes_per_s=10_000.0, session_burst_s=2.0)
    client = await node.device()
    for _ in range(3):
        await client.send(f.Call(id=1, path="/x", body=msgspec.Raw(b'"' + b"x" * 9_000 + b'"')))
    bye = await bye_of(client)
    assert (bye.code, bye.reason) == (4003, "too many bytes")
    assert counted(node, Metric.LIMITED, limit="session_bytes") == 1


async def test_every_answer_that_one_message_asks_for_is_a_frame(site: Site) -> None:
    node = await site.node(session_frames_per_s=10.0, session_burst_s=2.0)
    client = await node.device()
    await client.send(*(f.Subscribe((f"t-{n}",)) for n in range(200)))
    assert (await bye_of(client)).reason == "too many frames"


async def test_acks_of_what_was_sent_cost_nothing(site: Site, codec: Codec) -> None:
    node = await site.node(session_frames_per_s=1.0, session_bytes_per_s=4_096.0, session_burst_s=2.0, window_max=64)
    client = await node.device("d-1", codec, window=64)
    for _ in range(5):
        await node.deliver(*(offer("d-1") for _ in range(40)))
        for _ in range(40):
            await client.ack((await client.push()).id)
        while next(iter(node.gateway._context.registry.signed.values())).free < 64:
            await asyncio.sleep(0)
    await client.pong()


async def test_a_flood_of_bytes_one_at_a_time_is_frames_too(site: Site) -> None:
    node = await site.node(session_frames_per_s=10.0, session_burst_s=2.0, close_linger_s=0.05)
    raw = await Raw.to(node)
    await raw.upgrade()
    (link,) = node.gateway._context.registry.connections
    assert isinstance(link, Link)
    for byte in Frame(Opcode.TEXT, b"x" * 100).serialize(mask=True)[:60]:
        link.data_received(bytes((byte,)))  # as reads of their own
    assert b"too many frames" in await raw.rest()
    await gone(node)
    assert len(node.gateway._guard.budgets) == 0


async def gone_but(node: Node, left: int) -> None:
    while len(node.gateway._context.registry.connections) > left:
        await asyncio.sleep(0)


# ── devices that drop again and again ─────────────────────────────────────────────────────────────────────────────


async def dropped(node: Node, device: str = "d-1") -> None:
    client = await node.device(device)
    client.socket.transport.abort()
    while (APP, device) in node.gateway._context.registry.signed:
        await asyncio.sleep(0)


async def test_a_device_that_drops_again_and_again_rests_and_is_told_for_how_long(site: Site) -> None:
    node = await site.node(flapping_drops=3, flapping_rest_s=300.0)
    for _ in range(3):
        await dropped(node)
    bye = await refused(node)
    assert (bye.code, bye.reason) == (4003, "its connections dropped again and again")
    assert 295_000 < bye.retry_after_ms <= 300_000
    await node.device("d-2")
    node.gateway._guard.look(1)
    assert counted(node, Metric.GW_FLAPPING) == 1
    assert counted(node, Metric.LIMITED, limit="flapping") == 1
    assert counted(node, Metric.GW_SIGN_INS, outcome="flapping") == 1


async def test_who_can_not_show_a_token_does_not_hear_that_a_device_rests(site: Site) -> None:
    node = await site.node(flapping_drops=1)
    await dropped(node)
    client = await node.client()
    await client.hello("d-1", token="nonsense")
    assert await client.closed() == 4201


async def test_a_device_that_rested_comes_in(site: Site) -> None:
    node = await site.node(flapping_drops=2, flapping_rest_s=0.1)
    for _ in range(2):
        await dropped(node)
    await asyncio.sleep(0.11)
    await node.device()


async def test_what_we_ended_is_no_drop(site: Site) -> None:
    node = await site.node(flapping_drops=1)
    for code in (4000, 4100, 4004, 4200):
        client = await node.device()
        (connection,) = node.gateway._context.registry.signed.values()
        connection.close(code, "ours")
        assert await client.closed() == code
        await gone(node)
    await node.device()


@pytest.mark.parametrize("flag", ["draining", "stopping"])
async def test_a_session_that_a_deploy_cuts_is_no_drop(site: Site, flag: str) -> None:
    node = await site.node(flapping_drops=1)
    client = await node.device()
    setattr(node.gateway._context, flag, True)
    client.socket.transport.abort()
    await gone(node)
    assert len(node.gateway._guard.flapping) == 0


async def test_two_installations_that_fight_for_a_device_rest(site: Site) -> None:
    node = await site.node(flapping_drops=4)
    for number in range(5):
        await node.device(install=f"i-{number}")
    assert (await refused(node)).code == 4003


# ── so many sessions, so many sign-ins ────────────────────────────────────────────────────────────────────────────


async def test_an_app_has_so_many_sessions_and_a_device_takes_its_own_place(site: Site) -> None:
    await site.ports.devices.put_apps([App(name="eater", device_secrets=(SECRET,), sessions=3)])
    node = await site.node(app_sessions=2, overload_retry_ms=4_000)
    for device in ("d-1", "d-2"):
        await node.device(device)
    bye = await refused(node, "d-3")
    assert (bye.code, bye.reason) == (4003, "too many sessions of this app")
    assert bye.retry_after_ms <= 4_000
    await node.device("d-2")
    for device in ("d-1", "d-2", "d-3"):
        await (await node.client()).sign_in(device, app="eater")
    assert node.gateway._context.registry.apps == {APP: 2, "eater": 3}
    assert counted(node, Metric.LIMITED, limit="app_sessions") == 1
    for client in node.clients:
        client.socket.transport.abort()
    await gone(node)
    assert node.gateway._context.registry.apps == {}


async def test_a_node_takes_sign_ins_at_its_rate_and_gives_the_rest_a_moment_each(site: Site) -> None:
    node = await site.node(sign_ins=0.1, sign_ins_burst=2)
    for device in ("d-1", "d-2"):
        await node.device(device)
    waits = [(await refused(node, f"d-{n}")).retry_after_ms for n in (3, 4, 5)]
    assert 9_000 < waits[0] <= 10_000 < waits[1] <= 20_000 < waits[2] <= 30_000
    assert counted(node, Metric.LIMITED, limit="sign_ins_of_node") == 3


async def test_connections_beyond_the_number_are_counted(site: Site) -> None:
    node = await site.node(max_connections=1)
    first, second = await Raw.to(node), await Raw.to(node)
    assert await second.rest() == b""
    assert counted(node, Metric.LIMITED, limit="connections") == 1
    first.close()


# ── overload ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def readiness(node: Node) -> int:
    raw = await Raw.to(node)
    raw.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    return int((await raw.rest()).split(b" ")[1])


async def test_short_of_memory_a_node_keeps_whom_it_has_and_takes_nobody_new(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(50, 100)
    monkeypatch.setattr("push_gateway.guard.guard.read", lambda *_: reading)
    node = await site.node()
    inside = await node.device("d-1")
    reading = Reading(95, 100)
    node.gateway._guard._memory_at = 0.0
    node.gateway._guard.look(1)
    bye = await refused(node, "d-2")
    assert (bye.code, bye.reason) == (4003, "the node is short of memory")
    assert await readiness(node) == 503
    assert "overloaded: memory is short" in await node.gateway.missing()
    await node.deliver(offer("d-1"))
    await inside.ack((await inside.push()).id)
    await inside.pong()
    assert counted(node, Metric.SHED, place="gateway.memory") == 1
    reading = Reading(50, 100)
    node.gateway._guard._memory_at = 0.0
    node.gateway._guard.look(1)
    assert await readiness(node) == 200
    await node.device("d-2")


async def test_a_full_node_says_so_and_is_ready_again_when_somebody_left(site: Site) -> None:
    node = await site.node(max_sessions=1)
    inside = await node.device("d-1")
    assert (await refused(node, "d-2")).code == 4003
    assert await readiness(node) == 503
    assert node.gateway.ready is False
    inside.socket.transport.abort()
    await gone(node)
    assert await readiness(node) == 200
