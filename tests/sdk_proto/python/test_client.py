"""The client over real sockets, against a gateway that does what the test says."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sdk_proto.python import Client, DropPush, FileStore, Options, Problem, Push
from sdk_proto.wire import frames as f
from sdk_proto.wire.subprotocols import SUBPROTOCOLS
from tests.sdk_proto.python.app import App
from tests.sdk_proto.python.fake_gateway import WELCOME, FakeGateway


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_a_push_is_shown_then_acked(gateway: FakeGateway, subprotocol: str) -> None:
    app = App(gateway, subprotocol=subprotocol, window=16, heartbeat=300, state="foreground", network="wifi")
    async with app.client:
        session = await gateway.session()
        hello = session.hello
        assert (hello.app, hello.device, hello.token, hello.versions) == ("courier", "d-1", "token", (1,))
        assert (hello.window, hello.heartbeat, hello.state, hello.network) == (16, 300, "foreground", "wifi")
        await session.push(7, title="New order")
        assert await session.acks.get() == (7, "received")
        assert app.shown_ids == [7]
        assert app.client.status.state == "online"
    assert [status.state for status in app.statuses] == ["connecting", "online", "offline"]


async def test_a_known_id_is_acked_again_and_not_shown(gateway: FakeGateway) -> None:
    app = App(gateway)
    async with app.client:
        session = await gateway.session()
        await session.push(7)
        await session.acks.get()
        await session.cut()
        session = await gateway.session()
        await session.push(7, again=True)
        await session.push(8)
        assert await session.next_acks(2) == [(7, "received"), (8, "received")]
        assert app.shown_ids == [7, 8]


async def test_ids_and_the_installation_outlive_a_restart(gateway: FakeGateway, tmp_path: Path) -> None:
    async with App(gateway, store=tmp_path / "state.sqlite").client:
        session = await gateway.session()
        await session.push(7)
        await session.acks.get()
    again = App(gateway, store=str(tmp_path / "state.sqlite"))
    async with again.client:
        session = await gateway.session()
        await session.push(7, again=True)
        await session.acks.get()
        assert again.shown_ids == []
    first, second = gateway.hellos
    assert first.install == second.install
    assert (first.attempt, second.attempt) == (1, 2)


async def test_nothing_is_acked_before_it_is_stored(gateway: FakeGateway, tmp_path: Path) -> None:
    may_store = threading.Event()
    order: list[str] = []

    class SlowStore(FileStore):
        def remember(self, app: str, device: str, ids: Any) -> None:
            may_store.wait()
            order.append("stored")
            super().remember(app, device, ids)

    app = App(gateway, store=SlowStore(tmp_path / "state.sqlite"))
    async with app.client:
        session = await gateway.session()
        await session.push(7)
        await app.shown.get()
        await session.push(7, again=True)  # while it is being stored: shown once, acked once
        app.client.wake()
        assert isinstance(await session.frames.get(), f.Ping)
        assert session.acks.empty()
        may_store.set()
        await session.acks.get()
        assert order == ["stored"]
        assert app.shown_ids == []
        assert session.acks.empty()


async def test_a_store_that_fails_is_told_and_pushes_go_on(gateway: FakeGateway, tmp_path: Path) -> None:
    app = App(gateway, store=tmp_path / "no" / "such" / "folder")
    async with app.client:
        session = await gateway.session()
        for _ in range(2):
            await session.push(7)
            assert await session.acks.get() == (7, "received")
        assert app.shown_ids == [7]
        assert (await app.problems.get()).kind == "store"
        assert session.hello.attempt == 1
        await session.cut()
        assert (await gateway.session()).hello.attempt == 2


async def test_a_handler_that_fails_is_asked_again_and_gives_up_at_last(gateway: FakeGateway) -> None:
    calls: list[int] = []

    async def fails(push: Push) -> None:
        calls.append(push.id)
        raise OSError("no disk")

    problems: asyncio.Queue[Problem] = asyncio.Queue()
    options = Options(url=gateway.url, app="courier", device="d-1", token="token", handler_tries=3)
    async with Client(options, fails, on_problem=problems.put_nowait, source=lambda: 0.5):
        for _ in range(3):
            session = await gateway.session()
            await session.push(7)
            problem = await problems.get()
            assert (problem.kind, problem.message_id) == ("handler", 7)
            if len(calls) < 3:
                assert session.acks.empty()
                await session.cut()
        assert await session.acks.get() == (7, "dropped")
    assert calls == [7, 7, 7]


async def test_a_handler_may_refuse_a_push_for_good(gateway: FakeGateway) -> None:
    async def refuses(push: Push) -> None:
        raise DropPush

    async with Client(Options(url=gateway.url, app="courier", device="d-1", token="token"), refuses):
        session = await gateway.session()
        await session.push(7)
        assert await session.acks.get() == (7, "dropped")


async def test_a_handler_that_hangs_is_given_up_and_the_next_is_served(gateway: FakeGateway) -> None:
    async def hangs_at_first(push: Push) -> None:
        if push.id == 7:
            await asyncio.Event().wait()

    options = Options(url=gateway.url, app="courier", device="d-1", token="token", handler_timeout_s=0.01)
    problems: asyncio.Queue[Problem] = asyncio.Queue()
    async with Client(options, hangs_at_first, on_problem=problems.put_nowait):
        session = await gateway.session()
        await session.push(7)
        await session.push(8)
        assert await session.acks.get() == (8, "received")
        assert isinstance((await problems.get()).error, TimeoutError)


async def test_a_blocking_handler_does_not_stop_heartbeats(gateway: FakeGateway) -> None:
    may_return = threading.Event()
    entered = threading.Event()

    def blocks(push: Push) -> None:
        entered.set()
        may_return.wait()

    async with Client(Options(url=gateway.url, app="courier", device="d-1", token="token"), blocks) as client:
        session = await gateway.session()
        await session.push(7)
        await asyncio.to_thread(entered.wait)
        client.wake()
        assert isinstance(await session.frames.get(), f.Ping)
        assert session.acks.empty()
        may_return.set()
        assert await session.acks.get() == (7, "received")


async def test_pushes_are_shown_in_the_order_of_arrival(gateway: FakeGateway) -> None:
    app = App(gateway)
    async with app.client:
        session = await gateway.session()
        await session.send(*[f.Push(id=number) for number in (9, 3, 5, 1)])
        await session.next_acks(4)
        assert app.shown_ids == [9, 3, 5, 1]


async def test_a_recall_is_told_and_counts_as_seen(gateway: FakeGateway) -> None:
    app = App(gateway)
    async with app.client:
        session = await gateway.session()
        await session.send(f.Recall(7), f.Push(id=7))
        assert await session.acks.get() == (7, "received")
        assert await app.recalled.get() == 7
        assert app.shown_ids == []


async def test_a_push_that_is_recalled_while_it_waits_is_not_shown(gateway: FakeGateway) -> None:
    may_return = asyncio.Event()
    shown: list[int] = []

    async def waits(push: Push) -> None:
        shown.append(push.id)
        await may_return.wait()

    recalled = asyncio.Event()
    options = Options(url=gateway.url, app="courier", device="d-1", token="token")
    async with Client(options, waits, on_recall=lambda _: recalled.set()):
        session = await gateway.session()
        await session.send(f.Push(id=7), f.Push(id=8), f.Recall(8))
        await recalled.wait()
        may_return.set()
        assert sorted(await session.next_acks(2)) == [(7, "received"), (8, "received")]
    assert shown == [7]


async def test_displayed_and_clicked_are_reported_and_repeated_until_they_are_known_to_be_read(
    gateway: FakeGateway,
) -> None:
    app = App(gateway)
    async with app.client:
        session = await gateway.session()
        app.client.displayed(7)
        assert await session.acks.get() == (7, "displayed")
        await session.cut()  # nobody knows whether it was read
        session = await gateway.session()
        assert await session.acks.get() == (7, "displayed")
        app.client.wake()
        await session.frames.get()
        app.client.clicked(7)
        assert await session.acks.get() == (7, "clicked")
        with pytest.raises(ValueError, match="not a message id"):
            app.client.clicked(0)


async def test_reports_made_without_a_connection_are_sent_with_the_next(gateway: FakeGateway) -> None:
    app = App(gateway)
    app.client.displayed(7)
    async with app.client:
        assert await (await gateway.session()).acks.get() == (7, "displayed")


async def test_state_heartbeat_and_config_travel(gateway: FakeGateway) -> None:
    app = App(gateway)
    async with app.client:
        session = await gateway.session()
        app.client.set_state("background")
        assert await session.frames.get() == f.StateChange("background")
        app.client.set_heartbeat(9_999)
        assert await session.frames.get() == f.Ping(600)
        await session.send(f.Config(key="poll", version=1, value={"every": 3}), f.Error(code="unknown_frame"))
        assert (await app.configs.get()).value == {"every": 3}
        assert (await app.problems.get()).kind == "server"
        await session.cut()
        hello = (await gateway.session()).hello
        assert (hello.state, hello.heartbeat) == ("background", 9_999)
        with pytest.raises(ValueError, match="state"):
            app.client.set_state("asleep")


async def test_what_is_learned_of_a_network_is_kept_and_wished_on_it(gateway: FakeGateway, tmp_path: Path) -> None:
    path = tmp_path / "device.sqlite"
    learned = [["wifi", 60, 60, 120, 0, 0, 100, 0], ["cellular", 130, 150, 210, 0, 0, 100, 1]]
    store = FileStore(path)
    store.keep_heartbeats("courier", "d-1", json.dumps(learned))
    short = f.Heartbeat(min=1, max=10, grace=1.5, next=10)  # a silence of less than a second is near enough to 10 s
    gateway.answer = lambda hello: msgspec.structs.replace(WELCOME, heartbeat=short)
    gateway.pongs = False
    app = App(gateway, store=path, network="cellular")
    async with app.client:
        session = await gateway.session()
        assert (session.hello.network, session.hello.heartbeat) == ("cellular", 130)
        app.client.wake("wifi")  # the connection stays on the network that it was made on
        assert isinstance(await session.frames.get(), f.Ping)
        await session.cut()
        session = await gateway.session()
        assert (session.hello.network, session.hello.heartbeat) == ("wifi", 10)
        app.client.wake()
        assert isinstance(await session.frames.get(), f.Ping)
        await session.cut()
        await gateway.session()
        await app.until("online")
    kept = json.loads(store.heartbeats("courier", "d-1") or "")
    store.close()
    assert [name for name, *_ in kept] == ["cellular", "wifi"]  # in order of use
    assert kept[0] == learned[1]  # another network answered: nothing is said of this one
    assert kept[1][5] == 1  # losses


async def test_a_push_that_cannot_be_read_is_acked_undecodable(gateway: FakeGateway) -> None:
    app = App(gateway, subprotocol="taco.v1+json")
    async with app.client:
        session = await gateway.session()
        await session.connection.send('{"push":{"id":"7","data":[1]}}')
        assert await session.acks.get() == (7, "undecodable")
        assert (await app.problems.get()).message_id == 7


async def test_what_a_callback_raises_is_its_own(gateway: FakeGateway) -> None:
    problems: asyncio.Queue[Problem] = asyncio.Queue()

    def raises(value: object) -> None:
        raise ZeroDivisionError

    async def ignores(push: Push) -> None: ...

    options = Options(url=gateway.url, app="courier", device="d-1", token="token")
    async with Client(options, ignores, on_status=raises, on_problem=problems.put_nowait):
        await gateway.session()
        assert (await problems.get()).kind == "callback"


async def test_stopping_waits_for_the_handler_and_sends_its_ack(gateway: FakeGateway) -> None:
    entered, may_return = asyncio.Event(), asyncio.Event()

    async def waits(push: Push) -> None:
        entered.set()
        await may_return.wait()

    client = Client(Options(url=gateway.url, app="courier", device="d-1", token="token"), waits)
    await client.start()
    session = await gateway.session()
    await session.push(7)
    await session.push(8)
    await entered.wait()
    stopping = asyncio.create_task(client.stop())
    await asyncio.sleep(0)
    may_return.set()
    await stopping
    assert await session.acks.get() == (7, "received")
    await session.connection.wait_closed()
    assert session.acks.empty()  # 8 was not handled: it comes again


async def test_a_handler_may_stop_its_own_client(gateway: FakeGateway) -> None:
    async def stops(push: Push) -> None:
        await client.stop()

    client = Client(Options(url=gateway.url, app="courier", device="d-1", token="token"), stops)
    await client.start()
    session = await gateway.session()
    await session.push(7)
    assert (await client.stopped()).state == "offline"
    await session.connection.wait_closed()
    assert session.acks.empty()  # its handler had not returned: it comes again


async def test_stopping_before_any_connection_is_no_trouble(gateway: FakeGateway) -> None:
    gateway.answer = lambda hello: None
    client = Client(Options(url=gateway.url, app="courier", device="d-1", token="token"), lambda push: None)
    await client.start()
    await client.stop()
    assert (await client.stopped()).state == "offline"
    with pytest.raises(RuntimeError, match="started once"):
        await client.start()


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://a"},
        {"url": []},
        {"app": ""},
        {"device": ""},
        {"subprotocol": "chat"},
        {"state": "asleep"},
        {"concurrency": 0},
        {"handler_tries": 0},
    ],
)
def test_an_option_that_cannot_be_used_is_named(wrong: dict[str, Any]) -> None:
    options = {"url": "ws://a", "app": "courier", "device": "d-1", "token": "token"} | wrong
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        Client(Options(**options), lambda push: None)


def test_a_token_is_not_in_the_options_repr() -> None:
    assert "secret" not in repr(Options(url="ws://a", app="courier", device="d-1", token="secret"))


async def test_topics_are_subscribed_to_again_on_each_connection(gateway: FakeGateway) -> None:
    app = App(gateway)
    app.client.subscribe("news", "city-021")
    async with app.client:
        session = await gateway.session()
        assert await session.frames.get() == f.Subscribe(("news", "city-021"))
        app.client.unsubscribe("news")
        assert await session.frames.get() == f.Unsubscribe(("news",))
        app.client.subscribe("secret")
        assert await session.frames.get() == f.Subscribe(("secret",))
        await session.send(f.Error(code="forbidden", message="secret"))
        assert (await app.problems.get()).error == f.Error(code="forbidden", message="secret")
        await session.cut()
        assert await (await gateway.session()).frames.get() == f.Subscribe(("city-021", "secret"))
