"""How a client comes back, goes elsewhere, or stops, over real sockets."""

import contextlib

import pytest
from websockets.exceptions import ConnectionClosed

from sdk_proto.python import Status
from sdk_proto.python.session import Limits
from sdk_proto.wire import frames as f
from tests.sdk_proto.python.app import App
from tests.sdk_proto.python.fake_gateway import WELCOME, FakeGateway, fake_gateway


@pytest.mark.parametrize("code", [4000, 4007, 1001, 4999])
async def test_after_a_close_it_comes_back_with_a_higher_attempt(gateway: FakeGateway, code: int) -> None:
    app = App(gateway)
    async with app.client:
        await (await gateway.session()).connection.close(code)
        await gateway.session()
    assert [hello.attempt for hello in gateway.hellos] == [1, 2]
    assert app.statuses[3].code == code


async def test_it_does_not_come_back_before_retry_after(gateway: FakeGateway) -> None:
    app = App(gateway)
    async with app.client:
        await (await gateway.session()).bye(4003, "overloaded", retry_after_ms=3_600_000)
        await app.until("waiting")
        assert app.client.status.retry_s is not None
        assert app.client.status.retry_s >= 3600
        app.client.wake()  # not even when the network changes
        assert app.client.status.state == "waiting"


async def test_a_refused_token_is_replaced(gateway: FakeGateway) -> None:
    asked: list[int | None] = []

    async def provider(code: int | None) -> str:
        asked.append(code)
        return f"token-{len(asked)}"

    gateway.answer = lambda hello: WELCOME if hello.token == "token-2" else f.Bye(code=4200, reason="expired")
    async with App(gateway, token=provider).client:
        assert (await gateway.session()).hello.token == "token-2"
    assert asked == [None, 4200]


async def test_a_fixed_token_that_is_refused_stops_the_client(gateway: FakeGateway) -> None:
    gateway.answer = lambda hello: f.Bye(code=4201, reason="token refused")
    async with App(gateway).client as client:
        assert await client.stopped() == Status("stopped", code=4201, reason="token refused")


async def test_a_provider_that_fails_is_told_and_asked_again(gateway: FakeGateway) -> None:
    asked: list[int | None] = []

    def provider(code: int | None) -> str:  # a plain function may block, so it runs in a thread
        asked.append(code)
        if len(asked) == 1:
            raise OSError("no network")
        return "token"

    app = App(gateway, token=provider)
    async with app.client:
        await gateway.session()
        assert (await app.problems.get()).kind == "token"


@pytest.mark.parametrize("code", [4300, 4301, 4303, 4304, 4305])
async def test_an_order_to_stop_ends_it_and_tells_why(gateway: FakeGateway, code: int) -> None:
    app = App(gateway)
    async with app.client as client:
        await (await gateway.session()).bye(code, "why")
        assert await client.stopped() == Status("stopped", code=code, reason="why")
    assert len(gateway.hellos) == 1


async def test_migrate_is_obeyed_without_a_gap(gateway: FakeGateway) -> None:
    async with fake_gateway() as other:
        app = App(gateway)
        async with app.client:
            old = await gateway.session()
            await old.send(f.Migrate(urls=(other.url,), after_ms=0, spread_ms=2))
            new = await other.session()
            await new.push(7)
            assert await new.acks.get() == (7, "received")
            await old.connection.wait_closed()
            assert (new.hello.attempt, new.hello.install) == (2, old.hello.install)
            assert [status.state for status in app.statuses].count("online") == 2
            assert "waiting" not in [status.state for status in app.statuses]
            await new.cut()  # a detour is for one connection
            await gateway.session()


async def test_an_address_that_can_not_be_reached_leaves_the_old_connection_serving(gateway: FakeGateway) -> None:
    async with fake_gateway() as gone:
        dead = gone.url
    app = App(gateway)
    async with app.client:
        old = await gateway.session()
        await old.send(f.Migrate(urls=(dead,)))
        new = await gateway.session()  # home is tried next
        assert new.hello.attempt == 3
        await old.connection.wait_closed()
    assert {status.state for status in app.statuses[2:-1]} == {"online"}


async def test_superseded_by_its_own_successor_it_shows_no_gap(gateway: FakeGateway) -> None:
    async with fake_gateway() as other:
        welcome = True
        other.answer = lambda hello: WELCOME if welcome else None
        app = App(gateway)
        async with app.client:
            old, welcome = await gateway.session(), False
            await old.send(f.Migrate(urls=(other.url,)))
            await other.hello_came.get()
            await old.bye(4007, "superseded")
            assert app.client.status.state == "online"
        assert {status.state for status in app.statuses[1:-1]} == {"online"}


async def test_closed_before_its_turn_came_it_goes_where_it_was_told(gateway: FakeGateway) -> None:
    async with fake_gateway() as other, App(gateway).client:
        old = await gateway.session()
        await old.send(f.Migrate(urls=(other.url,), after_ms=3_600_000))
        await old.bye(4100, "emptied", retry_after_ms=1)
        assert (await other.session()).hello.attempt == 2


async def test_what_comes_on_a_replaced_connection_is_ignored(gateway: FakeGateway) -> None:
    async with fake_gateway() as other:
        app = App(gateway)
        async with app.client:
            old = await gateway.session()
            await old.send(f.Migrate(urls=(other.url,)))
            new = await other.session()
            await new.push(1)
            await new.acks.get()
            with contextlib.suppress(ConnectionClosed):  # the client may have closed it already
                await old.push(7)
                await old.bye(4301, "replaced by another installation")
            await new.push(2)
            await new.acks.get()
            assert app.shown_ids == [1, 2]
            assert app.client.status.state == "online"


async def test_a_silent_server_is_left(gateway: FakeGateway) -> None:
    silent = True
    gateway.answer = lambda hello: None if silent else WELCOME
    app = App(gateway, limits=Limits(welcome_s=0.01))
    async with app.client:
        await gateway.hello_came.get()
        await gateway.hello_came.get()
        silent = False
        await gateway.session()
    assert "no welcome in time" in [status.reason for status in app.statuses]


async def test_garbage_ends_the_connection_and_not_the_client(gateway: FakeGateway) -> None:
    app = App(gateway)
    async with app.client:
        await (await gateway.session()).connection.send(b"\xff")
        await gateway.session()
    assert any("not a frame" in status.reason for status in app.statuses)


async def test_a_text_message_on_the_binary_protocol_ends_the_connection(gateway: FakeGateway) -> None:
    app = App(gateway)
    async with app.client:
        await (await gateway.session()).connection.send('{"pong":{}}')
        await gateway.session()
    assert any("wrong kind" in status.reason for status in app.statuses)


async def test_an_address_that_fails_is_followed_by_the_next(gateway: FakeGateway) -> None:
    async with fake_gateway() as gone:
        dead = gone.url
    gateway.answer = lambda hello: WELCOME
    async with App(gateway, url=[dead, gateway.url]).client:
        await gateway.session()
