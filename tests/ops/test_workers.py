"""Several gateways on one port: what each is told, how the port is held, how they are asked."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from ops.admin.server import AdminServer
from ops.settings import AllSettings, Overrides, load_all
from ops.workers import Workers, hold_port, not_ready
from push_core.errors import ConfigError, Unavailable


@pytest.fixture
def settings(tmp_path: Path) -> AllSettings:
    return load_all(tmp_path, None, {}, Overrides(name="gw", zone="west", admin_port=9_000))


def told(workers: Workers, number: int) -> dict[str, str]:
    argv = list(workers.specs(8_081)[number].argv)
    return {name: value for name, value in pairwise(argv) if name.startswith("--")}


def test_each_worker_has_a_name_and_an_admin_port_of_its_own_and_the_port_in_common(settings: AllSettings) -> None:
    workers = Workers(settings, 3, ["--data", "d"], Path("d"))
    assert workers.names == ["gw.1", "gw.2", "gw.3"]
    assert [spec.name for spec in workers.specs(8_081)] == workers.names
    assert [told(workers, number)["--admin-port"] for number in range(3)] == ["9001", "9002", "9003"]
    for number in range(3):
        common = told(workers, number)
        assert (common["--port"], common["--zone"], common["--data"]) == ("8081", "west", "d")
        assert workers.specs(8_081)[number].env["TACO_GATEWAY_REUSE_PORT"] == "true"


@pytest.mark.parametrize(
    ("rpc", "theirs"),
    [
        ("grpc://127.0.0.1:0", ["grpc://127.0.0.1:0"] * 2),
        ("grpc://0.0.0.0:7000?advertise=gw", ["grpc://0.0.0.0:7000?advertise=gw", "grpc://0.0.0.0:7001?advertise=gw"]),
        ("grpc://[::1]:7000", ["grpc://[::1]:7000", "grpc://[::1]:7001"]),
    ],
)
def test_a_fixed_port_for_internal_calls_is_the_first_workers_and_the_next_ones_follow(
    settings: AllSettings, rpc: str, theirs: list[str]
) -> None:
    changed = replace(settings, stores=replace(settings.stores, rpc=rpc))
    specs = Workers(changed, 2, [], Path()).specs(8_081)
    assert [spec.env["TACO_STORES_RPC"] for spec in specs] == theirs


@pytest.mark.parametrize("port", [0, -1])
def test_an_admin_port_that_is_free_or_off_is_so_for_all(settings: AllSettings, port: int) -> None:
    changed = replace(settings, admin=replace(settings.admin, port=port))
    assert {told(Workers(changed, 2, [], Path()), number)["--admin-port"] for number in range(2)} == {str(port)}


def listen_beside(held: socket.socket) -> socket.socket:
    """As a worker does."""
    worker = socket.socket()
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    worker.bind(held.getsockname())
    worker.listen()
    return worker


def test_the_held_port_takes_no_connection_from_those_who_listen() -> None:
    with closing(hold_port("127.0.0.1", 0)) as held, closing(listen_beside(held)) as worker:
        worker.settimeout(5)
        for _ in range(32):
            with socket.create_connection(held.getsockname(), timeout=5):
                accepted, _ = worker.accept()
                accepted.close()


@pytest.mark.parametrize("sharing", [False, True], ids=["alone", "sharing"])
def test_a_port_that_somebody_else_has_is_a_sentence(sharing: bool) -> None:
    with socket.socket() as other:
        if sharing:  # another gateway's workers: theirs and ours would take each other's devices
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"\[gateway\] port: cannot listen on 127\.0\.0\.1:{port} \("):
            hold_port("127.0.0.1", port)


def test_a_fixed_port_that_is_free_is_held() -> None:
    with closing(hold_port("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
    with closing(hold_port("127.0.0.1", port)) as again:
        assert again.getsockname()[1] == port


class Asked:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def missing(self) -> list[str]:
        return self.reasons


@pytest.fixture
async def asked() -> AsyncIterator[tuple[Asked, int]]:
    worker = Asked()
    server = AdminServer("127.0.0.1", 0, key=None, ready=worker.missing)
    await server.start()
    yield worker, server.address[1]
    await server.stop()


async def test_a_worker_is_asked_by_its_admin_port(asked: tuple[Asked, int]) -> None:
    worker, port = asked
    assert await not_ready("127.0.0.1", port) == []
    assert await not_ready("0.0.0.0", port) == []  # where it listens is not where it is asked
    worker.reasons = ["no lease", "presence does not answer"]
    assert await not_ready("127.0.0.1", port) == worker.reasons


async def test_a_worker_that_does_not_answer_and_one_that_answers_nonsense_are_not_ready() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="does not answer"):
            await not_ready("127.0.0.1", nobody.getsockname()[1])

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\n\r\n<html>")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Unavailable, match="can't be read"):
            await not_ready("127.0.0.1", server.sockets[0].getsockname()[1])
