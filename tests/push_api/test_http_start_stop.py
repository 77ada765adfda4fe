"""The HTTP server's life: where it listens, what a stop does to requests under way, and routes of others beside its own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from push_api.app import PushApi
from push_api.http import listen
from push_api.settings import ApiSettings
from push_core.adapters import Ports
from push_core.errors import ConfigError
from tests.push_api.conftest import client_of
from tests.push_api.refusals import good
from tests.push_api.wire import wire_to


class TestStopping:
    async def test_requests_under_way_are_finished(self, settings: ApiSettings, ports: Ports) -> None:
        api = PushApi(settings, ports)
        await api.start()
        gate, asked = asyncio.Event(), asyncio.Event()

        async def slow(*_: object, **__: object) -> list[None]:
            asked.set()
            await gate.wait()
            return [None]

        ports.messages.replace(get=slow)  # type: ignore[attr-defined]
        async with client_of(api, "demo.secret") as client:
            waiting = asyncio.create_task(client.get("/v1/messages/1"))
            await asked.wait()
            stopping = asyncio.create_task(api.stop(5.0))
            await asyncio.sleep(0.01)
            with pytest.raises(httpx.ConnectError):
                async with client_of(api, None) as newcomer:
                    await newcomer.get("/healthz")
            gate.set()
            answer = await waiting
            assert (answer.status_code, answer.headers["connection"]) == (404, "close")
            await stopping

    async def test_what_does_not_finish_in_time_is_told_so(self, settings: ApiSettings, ports: Ports) -> None:
        api = PushApi(settings, ports)
        await api.start()
        asked = asyncio.Event()

        async def hang(*_: object, **__: object) -> None:
            asked.set()
            await asyncio.Event().wait()

        ports.messages.replace(get=hang)  # type: ignore[attr-defined]
        async with client_of(api, "demo.secret") as client:
            waiting = asyncio.create_task(client.get("/v1/messages/1"))
            await asked.wait()
            await api.stop(0.05)
            answer = await waiting
        assert (answer.status_code, answer.json()["error"]["message"]) == (503, "the server is stopping")

    async def test_idle_connections_do_not_hold_it_up(self, settings: ApiSettings, ports: Ports) -> None:
        api = PushApi(settings, ports)
        await api.start()
        idle = await wire_to(api)
        await idle.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        await idle.answer()
        async with asyncio.timeout(20.0):
            await api.stop(30.0)
        assert await idle.closed() == b""
        await idle.close()


async def test_a_taken_port_is_a_sentence(api: PushApi, ports: Ports, settings: ApiSettings) -> None:
    port = httpx.URL(api.url).port
    assert port is not None
    with pytest.raises(ConfigError, match=rf"\[api\] port: {port} on 127.0.0.1 is taken"):
        await PushApi(replace(settings, port=port), ports).start()


async def test_a_host_that_is_none_is_a_sentence(ports: Ports, settings: ApiSettings) -> None:
    for host in ("no.such.host.invalid", "192.0.2.1"):
        with pytest.raises(ConfigError, match=r"\[api\] host and port: can't listen on"):
            await listen(host, 0)


async def test_ipv6_addresses_are_written_in_brackets(ports: Ports, settings: ApiSettings) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    api = PushApi(replace(settings, host="::1"), ports)
    await api.start()
    assert api.url.startswith("http://[::1]:")
    async with client_of(api, None) as client:
        assert (await client.get("/healthz")).status_code == 200
    await api.stop(1.0)


class TestExtraRoutes:
    @pytest.fixture
    async def api(self, settings: ApiSettings, ports: Ports) -> AsyncIterator[PushApi]:
        async def hello(request: Request) -> PlainTextResponse:
            if "teapot" in request.query_params:
                raise HTTPException(418, "short and stout")
            if "broken" in request.query_params:
                raise KeyError("a secret thing")
            return PlainTextResponse("hello")

        async def echo(request: Request) -> PlainTextResponse:
            return PlainTextResponse(str(len(await request.body())))

        routes = [
            Route("/echo", echo, methods=["POST"]),
            Route("/demo", hello),
            Route("/v1/messages", hello, methods=["GET"]),
        ]
        running = PushApi(settings, ports, extra_routes=routes)
        await running.start()
        yield running
        await running.stop(1.0)

    async def test_they_are_served_beside_the_contract(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/demo")
        assert (answer.status_code, answer.text) == (200, "hello")
        assert (await http.post("/v1/messages", json=good())).status_code == 202

    async def test_they_do_not_replace_what_the_contract_has(self, http: httpx.AsyncClient) -> None:
        assert (await http.get("/v1/messages")).status_code == 405

    async def test_their_refusals_have_the_one_shape(self, http: httpx.AsyncClient) -> None:
        for method, path, status, code in [
            ("GET", "/demo/x", 404, "not_found"),
            ("POST", "/demo", 405, "method_not_allowed"),
            ("GET", "/demo?teapot", 418, "bad_request"),
        ]:
            answer = await http.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert set((await http.post("/demo")).headers["allow"].split(", ")) == {"GET", "HEAD"}

    async def test_their_bodies_have_the_same_bound(self, http: httpx.AsyncClient, settings: ApiSettings) -> None:
        assert (await http.post("/echo", content=b"x" * 1_000)).text == "1000"
        answer = await http.post("/echo", content=b"x" * (settings.max_body_bytes + 1))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")

    async def test_their_faults_are_told_without_their_inside(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/demo?broken")
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal"
        assert "secret" not in answer.text
        assert (await http.get("/demo")).status_code == 200
