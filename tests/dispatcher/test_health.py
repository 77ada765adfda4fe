"""The least HTTP that a probe needs."""

import asyncio
import contextlib

import httpx
import pytest

from dispatcher.health import HealthServer, answer
from push_core.errors import ConfigError


@pytest.mark.parametrize(
    ("head", "ready", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", False, b"200"),
        (b"GET /readyz HTTP/1.1\r\n\r\n", True, b"200"),
        (b"GET /readyz?full=1 HTTP/1.1\r\n\r\n", True, b"200"),
        (b"GET /readyz HTTP/1.1\r\n\r\n", False, b"503"),
        (b"POST /healthz HTTP/1.1\r\n\r\n", True, b"405"),
        (b"GET / HTTP/1.1\r\n\r\n", True, b"404"),
        (b"garbage\r\n\r\n", True, b"404"),
    ],
)
def test_every_request_has_its_answer(head: bytes, ready: bool, status: bytes) -> None:
    assert answer(head, ready).split(b" ")[1] == status


def test_head_has_no_body() -> None:
    assert answer(b"HEAD /healthz HTTP/1.1\r\n\r\n", True).endswith(b"\r\n\r\n")


async def test_a_probe_reads_the_state_over_the_network() -> None:
    ready = False
    server = HealthServer("127.0.0.1", 0, lambda: ready)
    await server.start()
    base = "http://{}:{}".format(*server.address)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{base}/readyz")).status_code == 503
        ready = True
        assert (await client.get(f"{base}/readyz")).json() == {"ready": True}
    await server.stop()


async def test_whoever_says_too_much_is_hung_up_on() -> None:
    server = HealthServer("127.0.0.1", 0, lambda: True)
    await server.start()
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"x" * 100_000)
    with contextlib.suppress(ConnectionError):  # a reset: it had not read everything
        assert await reader.read() == b""
    writer.close()
    await server.stop()


async def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    one = HealthServer("127.0.0.1", 0, lambda: True)
    await one.start()
    with pytest.raises(ConfigError, match="health_port: cannot listen on"):
        await HealthServer("127.0.0.1", one.address[1], lambda: True).start()
    await one.stop()
