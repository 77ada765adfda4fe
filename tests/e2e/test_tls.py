"""Devices over TLS, with programs as they are started: the SDK believes an authority, certificates change under running workers."""

import asyncio
import json
import os
import signal
import ssl
from asyncio.subprocess import PIPE
from pathlib import Path
from uuid import uuid4

import pytest

from bench.taco_process import command
from ops import demo_app
from ops.cluster.servers import RedisServer
from ops.tokens import mint
from push_core.clock import Clock
from sdk_proto.python.wire_client import Fleet
from tests.e2e.conftest import Start
from tests.support.certificates import Authority, Files
from tests.support.programs import Programs, make_app, settings_on
from tests.support.terminal import taco as run_taco

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


async def test_listen_believes_the_authority_that_it_is_given(start: Start, authority: Authority) -> None:
    files = authority.issue("127.0.0.1")
    taco = await start(TACO_GATEWAY_TLS_CERT=str(files.cert), TACO_GATEWAY_TLS_KEY=str(files.key))
    assert taco.gateway.startswith("wss://127.0.0.1:")
    listener = await asyncio.create_subprocess_exec(
        *command("listen", "phone-1", "--count", "1", "--json", "--ca", str(files.ca), "--data", str(taco.data)),
        stdout=PIPE,
        stderr=PIPE,
    )
    assert listener.stdout is not None
    while "online" not in (line := (await listener.stdout.readline()).decode()):
        assert line, "listen ended"
    pushed = await run_taco("push", "phone-1", "--title", "Hi", "--json", "--data", str(taco.data))
    out, err = await listener.communicate()
    assert listener.returncode == 0, err
    assert [json.loads(line)["push"]["id"] for line in out.decode().splitlines() if '"push"' in line] == [
        pushed.json()["id"]
    ]


async def test_workers_take_a_new_certificate_on_sighup_and_nobody_is_dropped(
    tmp_path: Path, authority: Authority, redis_server: RedisServer
) -> None:
    files = authority.issue("127.0.0.1")
    programs = Programs(
        tmp_path, settings_on(tmp_path, f"{redis_server.dsn}?prefix={uuid4().hex[:8]}:", "amqp://127.0.0.1:1/")
    )
    programs.env |= {
        "TACO_GATEWAY_TLS_CERT": str(files.cert),
        "TACO_GATEWAY_TLS_KEY": str(files.key),
        "TACO_GATEWAY_TLS_CHECK_S": "3600",
    }
    secrets = await make_app(programs)
    try:
        gateway = await programs.start("gateway", "--workers", "2")
        fleet = Fleet(gateway.url, tls=files.client())
        token = mint(demo_app.NAME, "d-1", secrets.device_secret, now_s=Clock().wall_ms() // 1_000, ttl_s=600)
        device = await fleet.connect(demo_app.NAME, "d-1", token)
        before = await shown(gateway.url, files)
        authority.issue("127.0.0.1")
        os.kill(gateway.process.pid, signal.SIGHUP)
        async with asyncio.timeout(30):
            row = 0
            while row < 20:  # connections are spread over both workers
                row = row + 1 if await shown(gateway.url, files) != before else 0
        assert device.is_online
        device.ping()
        await fleet.close()
        assert await gateway.terminated() == 0, gateway.log.read_text()
        assert gateway.troubles() == []
    finally:
        await programs.kill_all()


async def shown(url: str, files: Files) -> str:
    """The serial number of the certificate that a client gets."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=files.client())
    found: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate = found.getpeercert()
    writer.transport.abort()
    assert certificate is not None
    return str(certificate["serialNumber"])
