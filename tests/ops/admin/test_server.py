"""The admin port as probes, scrapers and operators meet it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from ops.admin.server import AdminServer
from ops.admin.settings import AdminSettings
from push_core.errors import ConfigError

KEY = "cluster-secret"


async def always() -> list[str]:
    return []


@asynccontextmanager
async def served(**given: Any) -> AsyncIterator[tuple[AdminServer, httpx.AsyncClient]]:
    server = AdminServer("127.0.0.1", 0, **{"key": KEY, "ready": always, **given})
    await server.start()
    host, port = server.address
    try:
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://{host}:{port}") as client:
            yield server, client
    finally:
        await server.stop()


async def test_a_process_that_runs_is_healthy() -> None:
    async with served() as (_, client):
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"ok": True})


async def test_readiness_says_what_is_missing() -> None:
    reasons = ["the message store: no answer"]

    async def ready() -> list[str]:
        return reasons

    async with served(ready=ready) as (_, client):
        answer = await client.get("/readyz?full=1")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": reasons})
        reasons.clear()
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True})


async def test_metrics_are_served_when_there_are_any() -> None:
    async with served() as (_, client):
        assert (await client.get("/metrics")).status_code == 404
    async with served(exposition=lambda: (b"taco_up 1\n", "text/plain; version=0.0.4")) as (_, client):
        answer = await client.get("/metrics")
        assert (answer.text, answer.headers["content-type"]) == ("taco_up 1\n", "text/plain; version=0.0.4")


async def page(query: Mapping[str, str]) -> Any:
    if query.get("limit") == "none":
        raise ValueError("limit must be a number")
    if "fail" in query:
        raise RuntimeError("a defect")
    return {"query": dict(query)}


@pytest.mark.parametrize("headers", [{}, {"taco-cluster-key": ""}, {"taco-cluster-key": "cluster-secreT"}])
async def test_debug_pages_ask_for_the_cluster_key(headers: dict[str, str]) -> None:
    async with served(pages={"/debug/x": page}) as (_, client):
        assert (await client.get("/debug/x", headers=headers)).status_code == 401
        assert (await client.get("/debug/not-there", headers=headers)).status_code == 401
        answer = await client.get("/debug/x?a=1", headers={"taco-cluster-key": KEY})
        assert (answer.status_code, answer.json()) == (200, {"query": {"a": "1"}})


async def test_without_a_cluster_key_nobody_gets_in() -> None:
    async with served(key=None, pages={"/debug/x": page}) as (_, client):
        assert (await client.get("/debug/x", headers={"taco-cluster-key": ""})).status_code == 401


async def test_a_page_that_fails_takes_nothing_else_with_it() -> None:
    async with served(pages={"/debug/x": page}) as (_, client):
        client.headers["taco-cluster-key"] = KEY
        assert (await client.get("/debug/x?fail=1")).status_code == 500
        answer = await client.get("/debug/x?limit=none")
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "limit must be a number")
        assert (await client.get("/healthz")).status_code == 200


async def test_a_page_that_hangs_is_given_up() -> None:
    async def hang(_: Mapping[str, str]) -> Any:
        await asyncio.Event().wait()

    async with served(pages={"/x": hang}, settings=AdminSettings(answer_s=0.1)) as (_, client):
        answer = await client.get("/x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "deadline")


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/healthz", 405), ("GET", "/", 404)])
async def test_other_requests_are_refused(method: str, path: str, status: int) -> None:
    async with served() as (_, client):
        assert (await client.request(method, path)).status_code == status


async def test_whoever_says_too_much_is_hung_up_on() -> None:
    async with served() as (server, client):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"x" * 100_000)
        with contextlib.suppress(ConnectionError):  # a reset: it had not read everything
            assert await reader.read() == b""
        writer.close()
        assert (await client.get("/healthz")).status_code == 200


async def test_whoever_says_nothing_is_hung_up_on() -> None:
    async with served(settings=AdminSettings(request_s=0.1)) as (server, _):
        reader, writer = await asyncio.open_connection(*server.address)
        assert await reader.read() == b""
        writer.close()


async def test_connections_beyond_the_bound_are_answered_at_once() -> None:
    async with served(settings=AdminSettings(connections=1)) as (server, client):
        _, writer = await asyncio.open_connection(*server.address)
        answers = [(await client.get("/healthz")).status_code for _ in range(2)]
        assert 503 in answers  # the silent one holds the only place
        writer.close()


async def test_stopping_ends_connections_under_way() -> None:
    server = AdminServer("127.0.0.1", 0, key=None, ready=always)
    await server.start()
    reader, writer = await asyncio.open_connection(*server.address)
    await server.stop()
    await server.stop()
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()


async def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    async with served() as (server, _):
        with pytest.raises(ConfigError, match=r"\[admin\] port: cannot listen on"):
            await AdminServer("127.0.0.1", server.address[1], key=None, ready=always).start()


async def test_an_action_is_asked_for_with_post_and_the_key_and_may_come_while_it_serves() -> None:
    done: list[Mapping[str, str]] = []

    async def act(query: Mapping[str, str]) -> Any:
        done.append(query)
        return {"done": len(done)}

    key = {"taco-cluster-key": KEY}
    async with served() as (server, client):
        assert (await client.post("/debug/act", headers=key)).status_code == 404
        server.add({}, {"/debug/act": act})
        assert (await client.get("/debug/act", headers=key)).status_code == 405
        assert (await client.post("/debug/act")).status_code == 401
        assert done == []
        answer = await client.post("/debug/act?n=1", headers=key)
        assert (answer.status_code, answer.json(), done) == (200, {"done": 1}, [{"n": "1"}])
        with pytest.raises(ValueError, match="not under /debug/"):
            server.add({}, {"/act": act})
