"""Subscribing: what a client may, what the server side does for it, and what is left when a session is over."""

import msgspec
import pytest

from push_core.devices.port import TopicChange
from push_core.metrics.memory import MemoryMetrics
from push_core.models import App
from push_core.rpc.port import Subscription
from push_core.topics import control_key
from push_gateway.context import Context
from push_gateway.counters import Counters
from push_gateway.topics import SHARED, Topics
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from tests.push_gateway.support import APP, SECRET, Client, Node, Site, token


def topics_of(node: Node) -> Topics:
    context: Context = node.gateway._context
    return context.topics


def subscribed(node: Node, app: str = APP) -> dict[str, set[str]]:
    """Topics by device."""
    topics = topics_of(node)
    registry = node.gateway._context.registry
    return {key[1]: set(topics.of(session)) for key, session in registry.signed.items() if key[0] == app}


async def with_topics(node: Node, device: str, *patterns: str, codec: Codec | None = None) -> Client:
    client = await (node.client() if codec is None else node.client(codec))
    await client.sign_in(device, token=token(device, topics=list(patterns)), features=("topics",))
    return client


async def test_a_client_subscribes_to_what_its_token_allows_and_hears_of_the_rest(node: Node, codec: Codec) -> None:
    client = await with_topics(node, "d-1", "city-*", "news", codec=codec)
    await client.send(f.Subscribe(("city-021", "news", "newsletter", "not a topic", "secret")))
    errors = {(await client.receive()) for _ in range(2)}
    assert errors == {
        f.Error(code="forbidden", message="newsletter secret"),
        f.Error(code="invalid_topic", message="not a topic"),
    }
    assert subscribed(node) == {"d-1": {"city-021", "news"}}
    await client.send(f.Unsubscribe(("news", "never-subscribed")))
    await client.pong()
    assert subscribed(node) == {"d-1": {"city-021"}}


async def test_the_rest_of_the_message_holds(node: Node) -> None:
    client = await with_topics(node, "d-1")
    await client.send(f.Subscribe(("x",)), f.Ping())
    assert isinstance(await client.receive(), f.Error)
    assert isinstance(await client.receive(), f.Pong)


async def test_topics_in_one_message_with_the_hello_are_allowed_by_its_token(node: Node) -> None:
    client = await node.client()
    hello = f.Hello(app=APP, device="d-1", token=token("d-1", topics=["a"]), versions=(1,), features=("topics",))
    await client.send(hello, f.Subscribe(("a",)))
    welcome = await client.receive()
    assert welcome.features == ("topics",)
    await client.pong()
    assert subscribed(node) == {"d-1": {"a"}}


async def test_rules_of_the_app_allow_too_and_their_change_counts_at_once(site: Site, node: Node) -> None:
    client = await node.device()

    async def wish(topic: str) -> bool:
        await client.send(f.Subscribe((topic,)), f.Ping())
        allowed = isinstance(await client.receive(), f.Pong)
        if not allowed:
            await client.receive()
        return allowed

    assert not await wish("city-1")
    await site.ports.control.control.put(control_key(APP), ["city-*"])
    await site.ports.control.poll()
    assert await wish("city-1")
    await site.ports.control.control.put(control_key(APP), "everything")
    await site.ports.control.poll()
    assert not await wish("city-2")
    assert subscribed(node) == {"d-1": {"city-1"}}


async def test_another_apps_rules_and_topics_are_its_own(site: Site, node: Node) -> None:
    await site.ports.devices.put_apps([App(name="taxi", device_secrets=(SECRET,))])
    await site.ports.control.control.put(control_key("taxi"), ["*"])
    await site.ports.control.poll()
    mine, theirs = await node.device("d-1"), await node.client()
    await theirs.sign_in("d-1", app="taxi")
    for client in (mine, theirs):
        await client.send(f.Subscribe(("news",)))
    assert (await mine.receive()).code == "forbidden"
    await theirs.pong()
    assert (subscribed(node), subscribed(node, "taxi")) == ({"d-1": set()}, {"d-1": {"news"}})


async def test_one_topic_more_than_a_session_may_have_is_refused(site: Site) -> None:
    node = await site.node(topics_per_session=2)
    client = await with_topics(node, "d-1", "*")
    await client.send(f.Subscribe(("a", "b", "a", "c")))
    assert await client.receive() == f.Error(code="too_many_topics", message="c")
    await client.send(f.Unsubscribe(("a",)), f.Subscribe(("c", "b")))
    await client.pong()
    assert subscribed(node) == {"d-1": {"b", "c"}}


async def test_a_node_that_offers_no_topics_says_so(site: Site) -> None:
    node = await site.node(topics_per_session=0)
    client = await node.client()
    welcome = await client.sign_in("d-1", token=token("d-1", topics=["*"]), features=("topics",))
    assert welcome.features == ()
    await client.send(f.Subscribe(("a",)))
    assert (await client.receive()).code == "not_available"


async def test_the_server_side_subscribes_a_session_and_unsubscribes_it(site: Site, node: Node) -> None:
    await node.device("d-1")
    peers, address = site.ports.rpc.peers(), node.gateway.address
    wishes = [Subscription(APP, "d-1", ["vip", "news"]), Subscription(APP, "nobody", ["vip"])]
    assert await peers.subscribe(address, wishes) == [True, False]
    assert subscribed(node) == {"d-1": {"vip", "news"}}
    assert await peers.subscribe(address, [Subscription(APP, "d-1", ["vip"], on=False)]) == [True]
    assert subscribed(node) == {"d-1": {"news"}}


async def test_topics_of_the_devices_record_are_there_with_each_session(site: Site, node: Node) -> None:
    await site.ports.devices.change_topics([TopicChange(app=APP, device="d-1", add=["vip"])], now=1)
    await node.device("d-1")
    assert subscribed(node) == {"d-1": {"vip"}}


@pytest.mark.parametrize("ends", ["by the client", "replaced"])
async def test_nothing_is_left_of_sessions_that_are_over(node: Node, ends: str) -> None:
    clients = [await with_topics(node, f"d-{number}", "*") for number in range(3)]
    for client in clients:
        await client.send(f.Subscribe(("shared", f"own-{id(client)}")))
        await client.pong()
    topics = topics_of(node)
    assert (len(topics), topics.subscriptions) == (4, 6)
    for number, client in enumerate(clients):
        if ends == "replaced":
            await node.device(f"d-{number}")
        else:
            await client.socket.close()
        await client.closed()
    while topics.subscriptions:
        await (await node.client()).socket.close()
    assert len(topics) == 0
    assert not topics._by_app
    assert not topics._of
    assert not topics._granted


def test_sessions_share_lists_of_patterns_and_the_list_of_lists_is_bounded() -> None:
    class Session:
        key = (APP, "d")

    topics = Topics(lambda key: None, Counters(MemoryMetrics()), most=1)
    sessions = [Session() for _ in range(SHARED + 3)]
    for number, session in enumerate(sessions):
        topics.admit(session, (f"t-{number}",), ())  # type: ignore[arg-type]
    assert len(topics._shared) == 3
    twins = [Session(), Session()]
    for twin in twins:
        topics.admit(twin, tuple(msgspec.json.decode(b'["a","b"]')), ())  # type: ignore[arg-type]
    first, second = (topics._granted[twin] for twin in twins)  # type: ignore[index]
    assert first is second
