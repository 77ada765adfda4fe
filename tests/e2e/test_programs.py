"""The three programs as processes of their own, on real servers: a message goes through them, and each ends in order."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from ops import demo_app
from ops.apps import Secrets
from ops.cluster.servers import RedisServer
from ops.tokens import mint
from push_core.clock import Clock
from sdk_proto.python.wire_client import Device, Fleet
from tests.support.certificates import Authority
from tests.support.programs import Programs, Running, make_app, probe
from tests.support.servers import require_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

STOP_S = 15.0  # [process] stop_s


async def connect(fleet: Fleet, name: str, secrets: Secrets) -> Device:
    token = mint(demo_app.NAME, name, secrets.device_secret, now_s=Clock().wall_ms() // 1_000, ttl_s=600)
    return await fleet.connect(demo_app.NAME, name, token)


async def push(api: Running, secrets: Secrets, *devices: str) -> list[str]:
    messages = [{"target": {"device": device}, "title": "T", "body": "B"} for device in devices]
    async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": f"Bearer {secrets.key}"}) as http:
        answer = await http.post("/v1/messages:batch", json={"messages": messages})
        assert answer.status_code in (200, 202), answer.text
        return [result["id"] for result in answer.json()["results"]]


async def delivered(api: Running, secrets: Secrets, message: str) -> None:
    """Wait until its ack is stored."""
    async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": f"Bearer {secrets.key}"}) as http:
        async with asyncio.timeout(30):
            while (state := (await http.get(f"/v1/messages/{message}")).json()["state"]) != "delivered":
                assert state in ("accepted", "sending", "waiting"), state
                await asyncio.sleep(0.02)


async def one_goes_through(programs: Programs) -> None:
    secrets = await make_app(programs)
    dispatcher = await programs.start("dispatcher")
    gateway = await programs.start("gateway")
    api = await programs.start("api")
    for program in (dispatcher, gateway, api):
        assert await probe(program.admin, "/healthz") == (200, {"ok": True})
        assert await probe(program.admin, "/readyz") == (200, {"ready": True}), program.role
    fleet = Fleet(gateway.url)
    device = await connect(fleet, "d-1", secrets)
    (message,) = await push(api, secrets, "d-1")
    await delivered(api, secrets, message)
    for program in (api, gateway, dispatcher):
        assert await program.terminated(STOP_S + 5) == 0, program.log.read_text()
    assert (await device.ended())[0] == 4100
    await fleet.close()
    for program in (api, gateway, dispatcher):
        assert program.troubles() == []


async def test_a_message_goes_through_three_processes_and_each_ends_in_order(programs: Programs) -> None:
    await one_goes_through(programs)


async def test_with_certificates_no_key_is_needed(programs: Programs, tmp_path: Path) -> None:
    files = Authority(tmp_path / "tls").issue("127.0.0.1")
    del programs.env["TACO_STORES_CLUSTER_KEY"]
    programs.env |= {
        "TACO_STORES_RPC_CERT": str(files.cert),
        "TACO_STORES_RPC_KEY": str(files.key),
        "TACO_STORES_RPC_CA": str(files.ca),
    }
    await one_goes_through(programs)


async def test_the_line_on_stdout_says_where_a_program_is(programs: Programs) -> None:
    api = await programs.start("api", "--name", "api-7", "--zone", "default")
    assert (api.said["name"], api.said["role"], api.said["pid"], api.said["zone"]) == (
        "api-7",
        "api",
        api.process.pid,
        "default",
    )
    assert set(api.said["ports"]) == {"http", "grpc", "admin"}
    dispatcher = await programs.start("dispatcher", "--roles", "relay", "--admin-port", "-1")
    assert dispatcher.said["ports"] == {}
    receipts = await programs.start("dispatcher", "--roles", "receipts")
    assert set(receipts.said["ports"]) == {"rpc", "admin"}


# ── several on one port ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_workers_share_a_port_one_that_dies_is_replaced_and_all_end_together(programs: Programs) -> None:
    secrets = await make_app(programs)
    gateway = await programs.start("gateway", "--workers", "2", "--name", "gw")
    await programs.start("dispatcher")
    api = await programs.start("api")
    workers = {worker["name"]: worker for worker in gateway.said["workers"]}
    assert set(workers) == {"gw.1", "gw.2"}
    assert {worker["ports"]["ws"] for worker in workers.values()} == {gateway.said["ports"]["ws"]}
    assert await probe(gateway.admin, "/readyz") == (200, {"ready": True})
    fleet = Fleet(gateway.url)
    names = [f"d-{number}" for number in range(12)]
    devices = [await connect(fleet, name, secrets) for name in names]
    for message in await push(api, secrets, *names):
        await delivered(api, secrets, message)
    os.kill(workers["gw.1"]["pid"], signal.SIGKILL)
    await gateway.until_logged("a worker serves again")
    assert await probe(gateway.admin, "/readyz") == (200, {"ready": True})
    again = await connect(fleet, "d-13", secrets)
    (message,) = await push(api, secrets, "d-13")
    await delivered(api, secrets, message)
    assert await gateway.terminated() == 0
    assert (await again.ended())[0] == 4100
    for device in devices:
        await device.ended()  # by the kill or by the end
    await fleet.close()
    assert gateway.troubles() == []


async def test_workers_that_cannot_start_say_why_and_end_their_parent(alone: Programs) -> None:
    refused = await alone.begin("gateway", "--workers", "3", TACO_GATEWAY_HEARTBEAT_MIN_S="700")
    assert await refused.ended() == 2
    assert "heartbeat" in refused.log.read_text()


# ── servers that are down, settings that are wrong ──────────────────────────────────────────────────────────────────


async def test_a_gateway_waits_for_its_redis_says_so_and_starts_when_it_is_there(
    alone: Programs, tmp_path: Path
) -> None:
    require_server(RedisServer)
    redis = RedisServer(tmp_path / "redis")
    waiting = await alone.begin("gateway", TACO_STORES_PRESENCE=redis.dsn, TACO_STORES_LIMITS=redis.dsn)
    line = await waiting.until_logged("waiting to start")
    assert f"127.0.0.1:{redis.port}" in line["waits_for"]
    assert redis.dsn.partition("@")[0].rpartition(":")[2] not in waiting.log.read_text(), "a password"
    assert await probe(line["admin_port"], "/healthz") == (200, {"ok": True})
    status, body = await probe(line["admin_port"], "/readyz")
    assert (status, body["reasons"]) == (503, [f"starting: {line['waits_for']}"])
    await asyncio.to_thread(redis.start)
    try:
        await waiting.serves()
        assert await probe(waiting.admin, "/readyz") == (200, {"ready": True})
        await asyncio.to_thread(redis.stop)
        async with asyncio.timeout(30):
            while (answer := await probe(waiting.admin, "/readyz"))[0] == 200:
                await asyncio.sleep(0.05)
        assert "presence does not answer" in answer[1]["reasons"][0]
        assert (await probe(waiting.admin, "/healthz"))[0] == 200
        assert await waiting.terminated(STOP_S + 5) == 0
    finally:
        redis.stop()


async def test_told_to_stop_while_it_waits_for_a_server_it_ends_at_once(alone: Programs) -> None:
    waiting = await alone.begin("gateway")
    await waiting.until_logged("waiting to start")
    assert await waiting.terminated(20) == 0


async def test_a_database_that_is_down_is_waited_for(alone: Programs) -> None:
    for role in ("api", "gateway", "dispatcher"):
        waiting = await alone.begin(role, TACO_STORES_MESSAGES="mysql://taco:hunter2@127.0.0.1:1/taco")
        line = await waiting.until_logged("waiting to start")
        assert "127.0.0.1:1" in line["waits_for"]
        assert "hunter2" not in waiting.log.read_text()
        assert await waiting.terminated(20) == 0


async def test_an_api_is_ready_while_the_queue_is_away_and_accepts(programs: Programs) -> None:
    secrets = await make_app(programs)
    api = await programs.start("api", TACO_STORES_QUEUES="amqp://127.0.0.1:1/")
    assert await probe(api.admin, "/readyz") == (200, {"ready": True})
    assert len(await push(api, secrets, "d-1")) == 1
    dispatcher = await programs.start("dispatcher", TACO_STORES_QUEUES="amqp://127.0.0.1:1/")
    status, body = await probe(dispatcher.admin, "/readyz")
    assert status == 503
    assert "the queue does not answer" in body["reasons"][0]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"TACO_STORES_PRESENCE": "memory://"}, "[stores] presence: memory:// lives inside one process"),
        ({"TACO_STORES_QUEUES": "memory://"}, "[stores] queues: memory:// lives inside one process"),
        ({"TACO_STORES_QUEUES": "rabbit://x"}, "must start with one of"),
        ({"TACO_STORES_PRESENCE": "redis://127.0.0.1:1/x"}, "[stores] presence"),
        ({"TACO_STORES_RPC": "grpc://0.0.0.0:0"}, "?advertise=HOST"),
        ({"TACO_STORES_RPC_CERT": "cert.pem"}, "[stores] rpc_key: not set"),
        ({"TACO_STORES_RPC_ALLOWED_NETWORKS": "10.0.0.0/99"}, "rpc_allowed_networks: '10.0.0.0/99'"),
        ({"TACO_DISPATCHER_ROLES": "long,relais"}, "[dispatcher] roles: 'relais' is not a role"),
        ({"TACO_STORES_CLUSTER_KEY": ""}, "cluster_key"),
    ],
)
async def test_settings_that_cannot_be_used_are_one_sentence(
    alone: Programs, settings: dict[str, str], sentence: str
) -> None:
    refused = await alone.begin("dispatcher", **settings)
    assert await refused.ended() == 2, refused.log.read_text()
    said = [line for line in refused.log.read_text().splitlines() if not line.startswith("{")]
    assert len(said) == 1, said
    assert sentence in said[0]


async def test_a_wrong_password_is_told_and_not_shown(programs: Programs, redis_server: RedisServer) -> None:
    place = redis_server.dsn.partition("@")[2]
    waiting = await programs.begin("gateway", TACO_STORES_PRESENCE=f"redis://:hunter2@{place}")
    line = await waiting.until_logged("waiting to start")
    assert "password" in line["waits_for"].lower(), line
    assert "hunter2" not in waiting.log.read_text()
    assert await waiting.terminated(20) == 0
