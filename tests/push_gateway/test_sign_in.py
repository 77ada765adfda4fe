"""Who gets in, what the others are told, and that nothing is written for somebody whose token is not verified."""

import asyncio
from typing import Any

import jwt
import pytest
from websockets.exceptions import InvalidStatus

from push_core.errors import Unavailable
from push_core.models import App
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from tests.push_gateway.support import APP, SECRET, Node, Site, token


async def test_a_device_is_welcomed_and_presence_knows_it(node: Node, codec: Codec) -> None:
    client = await node.client(codec)
    welcome = await client.sign_in(heartbeat=300, window=8, install="i-1", attempt=7)
    assert (welcome.version, welcome.heartbeat.next, welcome.window, welcome.pending) == (1, 300, 8, 0)
    (found,) = await node.ports.presence.locate([(APP, "d-1")])
    assert found is not None
    assert (found.node.address, found.node.name) == (node.gateway.address, "gw-1")
    assert (found.route.install, found.route.attempt, found.route.epoch) == ("i-1", 7, 1)
    assert node.gateway.sessions == 1


@pytest.mark.parametrize("subprotocols", [None, ["chat"]])
async def test_without_a_subprotocol_there_is_no_connection(node: Node, subprotocols: Any) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await node.client(subprotocols=subprotocols)
    assert refused.value.response.status_code == 400


@pytest.mark.parametrize(
    "hello",
    [
        pytest.param({"token": "nonsense"}, id="no token at all"),
        pytest.param({"token": token("d-1", secret="guessed")}, id="forged"),
        pytest.param({"token": token("d-1", ttl_s=-61)}, id="expired"),
        pytest.param({"token": token("d-2")}, id="another device's"),
        pytest.param({"token": token("d-1", app="taxi")}, id="another app's"),
        pytest.param({"app": "nobody", "token": token("d-1", app="nobody")}, id="of an unknown app"),
    ],
)
async def test_every_bad_token_is_told_the_same(node: Node, hello: dict[str, Any]) -> None:
    client = await node.client()
    await client.hello(**hello)
    bye = await client.receive()
    assert bye == f.Bye(code=4201, reason="the token was refused")
    assert await client.closed() == 4201


async def test_nothing_is_written_before_the_token_is_verified(site: Site, node: Node) -> None:
    asked: list[str] = []

    def spy(port: Any, name: str) -> None:
        real = getattr(port, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            return await real(*args, **kwargs)

        setattr(port, name, call)

    for name in ("sign_in", "sign_out", "register_again"):
        spy(site.ports.presence, name)
    for name in ("inbox", "apply"):
        spy(site.ports.messages, name)
    spy(site.ports.devices, "get")
    client = await node.client()
    await client.hello(token=token("d-1", secret="guessed"))
    assert await client.closed() == 4201
    assert asked == []


async def test_a_disabled_app_is_named_only_to_a_good_token(site: Site, node: Node) -> None:
    await site.ports.devices.put_apps([App(name="closed", device_secrets=(SECRET,), disabled=True)])
    for secret, code in ((SECRET, 4303), ("guessed", 4201)):
        client = await node.client()
        await client.hello(app="closed", token=token("d-1", "closed", secret))
        assert await client.closed() == code


async def test_a_blocked_device_is_named_only_to_a_good_token(site: Site, node: Node) -> None:
    await site.ports.devices.block([(APP, "d-1")], True, now=1)
    for secret, code in ((SECRET, 4304), ("guessed", 4201)):
        client = await node.client()
        await client.hello(token=token("d-1", secret=secret))
        assert await client.closed() == code
    await node.device("d-2")
    assert await node.located("d-1") is None


async def test_equal_device_names_of_two_apps_are_two_devices(site: Site, node: Node) -> None:
    await site.ports.devices.put_apps([App(name="taxi", device_secrets=(SECRET,))])
    first = await node.device("d-1")
    second = await node.device("d-1", app="taxi")
    assert node.gateway.sessions == 2
    await first.pong()
    await second.pong()


async def test_many_devices_sign_in_together(node: Node) -> None:
    clients = await asyncio.gather(*(node.device(f"d-{number}") for number in range(150)))
    assert node.gateway.sessions == len(clients) == 150


async def test_a_hello_late_is_4005(site: Site) -> None:
    node = await site.node(hello_timeout_s=0.02)
    client = await node.client()
    assert await client.closed() == 4005


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (f.Ping(), 4300),
        (f.Hello(app=APP, device="d-1", token="x", versions=(9,)), 4305),
    ],
)
async def test_a_bad_first_frame_is_refused(node: Node, codec: Codec, message: Any, code: int) -> None:
    client = await node.client(codec)
    await client.send(message)
    assert await client.closed() == code


async def test_a_second_hello_is_4300(node: Node, codec: Codec) -> None:
    client = await node.device(codec=codec)
    await client.hello()
    assert await client.closed() == 4300


async def test_a_token_that_expires_ends_the_session(site: Site, node: Node) -> None:
    client = await node.client()
    await client.sign_in(token=token("d-1", ttl_s=-58))  # within the leeway, and over as soon as it is in
    assert await client.closed() == 4200


async def test_silence_ends_the_session(site: Site) -> None:
    node = await site.node(heartbeat_min_s=1, heartbeat_default_s=1, heartbeat_grace=1.0)
    client = await node.device()
    assert await client.closed() == 4001


async def test_pinging_too_fast_is_4008(node: Node) -> None:
    client = await node.device()
    for _ in range(6):
        await client.send(f.Ping())
    assert await client.closed() == 4008


async def test_more_sessions_than_fit_are_asked_to_come_back(site: Site) -> None:
    node = await site.node(max_sessions=1, overload_retry_ms=5_000)
    await node.device("d-1")
    client = await node.client()
    await client.hello("d-2")
    bye = await client.receive()
    assert isinstance(bye, f.Bye)
    assert bye.code == 4003
    assert 0 <= bye.retry_after_ms <= 5_000


@pytest.mark.parametrize("store", ["devices", "presence"])
async def test_while_a_store_is_away_devices_are_asked_to_come_back(site: Site, node: Node, store: str) -> None:
    await node.device("before")
    port = getattr(site.ports, store)

    async def away(*_: Any) -> Any:
        raise Unavailable("away")

    kept = port.sign_in if store == "presence" else port.get
    setattr(port, "sign_in" if store == "presence" else "get", away)
    client = await node.client()
    await client.hello()
    assert await client.closed() == 4006
    setattr(port, "sign_in" if store == "presence" else "get", kept)
    await node.device()
    assert node.gateway.sessions == 2


async def test_a_store_that_hangs_does_not_hang_a_device(site: Site) -> None:
    node = await site.node(store_timeout_s=0.02)

    async def hang(*_: Any) -> Any:
        await asyncio.Event().wait()

    site.ports.presence.sign_in = hang  # type: ignore[method-assign, assignment]
    client = await node.client()
    await client.hello()
    assert await client.closed() == 4006


async def test_a_device_signs_in_without_the_message_store_and_gets_its_inbox_later(site: Site, node: Node) -> None:
    waiting = await node.store("d-1")
    inbox = site.ports.messages.inbox
    tries = 0

    async def down(*args: Any, **kwargs: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise Unavailable("down")
        return await inbox(*args, **kwargs)

    site.ports.messages.inbox = down  # type: ignore[method-assign]
    client = await node.client()
    welcome = await client.sign_in()
    assert welcome.pending == 0
    assert (await client.push()).id == waiting


async def test_an_app_s_new_secret_counts_when_the_cache_has_run_out(site: Site) -> None:
    node = await site.node(app_cache_s=0.0)
    await node.device("d-1")
    await site.ports.devices.put_apps([App(name=APP, device_secrets=("new",))])
    client = await node.client()
    await client.hello("d-2")
    assert await client.closed() == 4201
    await node.device("d-2", token=token("d-2", secret="new"))


async def test_a_key_pair_signs_devices_in(site: Site, node: Node) -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from push_core.clock import Clock
    from push_core.models import PublicKey

    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    await site.ports.devices.put_apps([App(name="pairs", public_keys=(PublicKey("EdDSA", pem),))])
    exp = Clock().wall_ms() // 1_000 + 60
    made = jwt.encode({"iss": "pairs", "sub": "d-1", "exp": exp}, private, algorithm="EdDSA")
    await node.device("d-1", app="pairs", token=made)


async def test_a_fault_of_ours_is_told_and_nobody_waits_for_ever(site: Site, node: Node) -> None:
    real = site.ports.presence.sign_in

    async def faulty(*_: Any) -> Any:
        raise RuntimeError("a bug")

    site.ports.presence.sign_in = faulty  # type: ignore[method-assign, assignment]
    client = await node.client()
    await client.hello()
    assert await client.closed() == 4006
    site.ports.presence.sign_in = real  # type: ignore[method-assign]
    await node.device()


def sessions(node: Node) -> list[Any]:
    return [connection._state for connection in node.gateway._context.registry.signed.values()]


async def test_an_old_connection_is_asked_to_be_made_anew_then_closed_each_at_a_time_of_its_own(site: Site) -> None:
    node = await site.node(max_age_s=1.0, drain_leave_s=0.1)
    client = await node.device()
    assert isinstance(await client.receive(), f.Migrate)
    assert await client.closed() == 4004
    calm = await site.node(max_age_s=0.0)
    clients = [await calm.device(f"d-{number}") for number in range(3)]
    assert {session._ends_as.name for session in sessions(calm)} == {"TOKEN"}
    old = await site.node(max_age_s=1_000.0)
    began = old.gateway._clock.monotonic()
    clients += [await old.device(f"o-{number}") for number in range(20)]
    ages = {session._ends_at - began for session in sessions(old)}
    assert len(ages) == 20
    assert 899.0 < min(ages) < max(ages) < 1_130.0
