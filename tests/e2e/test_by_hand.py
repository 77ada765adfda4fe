"""A stock WebSocket client, with nothing of ours but the words of sdk_proto/PROTOCOL.md: hello, push, ack."""

import asyncio
import json
from typing import Any

import httpx
import jwt
import pytest
import websockets

from bench.taco_process import TacoProcess
from push_core.clock import wall_ms
from tests.e2e.conftest import Start

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]


def hello(taco: TacoProcess, device: str, **more: Any) -> str:
    claims = {"iss": taco.app, "sub": device, "exp": wall_ms() // 1_000 + 600}
    token = jwt.encode(claims, taco.device_secret, algorithm="HS256")
    return json.dumps({"hello": {"app": taco.app, "device": device, "token": token, "versions": [1], **more}})


async def receive(connection: websockets.ClientConnection, kind: str) -> Any:
    """The next frame of a kind; a message holds one or more, a line each."""
    while True:
        message = await connection.recv()
        for line in str(message).splitlines():
            frame = json.loads(line)
            if kind in frame:
                return frame[kind]


async def state_of(taco: TacoProcess, message_id: str) -> str:
    async with httpx.AsyncClient(base_url=taco.api, headers={"Authorization": f"Bearer {taco.key}"}) as http:
        return str((await http.get(f"/v1/messages/{message_id}")).json()["state"])


async def push(taco: TacoProcess, device: str, title: str) -> str:
    async with httpx.AsyncClient(base_url=taco.api, headers={"Authorization": f"Bearer {taco.key}"}) as http:
        answer = await http.post("/v1/messages", json={"target": {"device": device}, "title": title, "data": {"n": 1}})
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "accepted"
    return str(answer.json()["id"])


async def test_hello_push_ack(start: Start) -> None:
    taco = await start()
    async with websockets.connect(taco.gateway, subprotocols=[websockets.Subprotocol("taco.v1+json")]) as connection:
        assert connection.subprotocol == "taco.v1+json"
        await connection.send(hello(taco, "by-hand"))
        welcome = await receive(connection, "welcome")
        assert welcome["version"] == 1
        assert welcome["heartbeat"]["min"] <= welcome["heartbeat"]["next"] <= welcome["heartbeat"]["max"]

        message_id = await push(taco, "by-hand", "Hello")
        got = await receive(connection, "push")
        assert (got["id"], got["title"], got["data"]) == (message_id, "Hello", {"n": 1})
        assert not got.get("again")

        await connection.send(json.dumps({"ack": {"ids": [message_id], "status": "received"}}))
        async with asyncio.timeout(30):
            while await state_of(taco, message_id) != "delivered":
                await asyncio.sleep(0.05)
        await connection.send(json.dumps({"ack": {"ids": [message_id], "status": "clicked"}}))
        async with asyncio.timeout(30):
            while await state_of(taco, message_id) != "clicked":
                await asyncio.sleep(0.05)
        await connection.send(json.dumps({"ping": {}}))
        assert (await receive(connection, "pong"))["time"] > 0


async def test_what_came_while_away_comes_with_the_next_connection_marked_if_it_was_tried(start: Start) -> None:
    taco = await start()
    waiting = await push(taco, "by-hand", "first")
    json_only = [websockets.Subprotocol("taco.v1+json")]
    async with websockets.connect(taco.gateway, subprotocols=json_only) as connection:
        await connection.send(hello(taco, "by-hand"))
        got = await receive(connection, "push")
        assert got["id"] == waiting
        assert not got.get("again")
    async with websockets.connect(taco.gateway, subprotocols=json_only) as connection:
        await connection.send(hello(taco, "by-hand"))
        again = await receive(connection, "push")
        assert (again["id"], again.get("again")) == (waiting, True)


async def test_without_a_subprotocol_it_is_refused_with_400(start: Start) -> None:
    taco = await start()
    for subprotocols in (None, [websockets.Subprotocol("mqtt")]):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(taco.gateway, subprotocols=subprotocols)
        assert refused.value.response.status_code == 400


async def test_a_forged_token_is_refused_with_4201(start: Start) -> None:
    taco = await start()
    forged = jwt.encode({"iss": taco.app, "sub": "d", "exp": wall_ms() // 1_000 + 600}, "f" * 43, algorithm="HS256")
    async with websockets.connect(taco.gateway, subprotocols=[websockets.Subprotocol("taco.v1+json")]) as connection:
        await connection.send(json.dumps({"hello": {"app": taco.app, "device": "d", "token": forged, "versions": [1]}}))
        assert (await receive(connection, "bye"))["code"] == 4201
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await connection.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4201
