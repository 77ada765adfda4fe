"""`taco up` as a process, and the programs as processes of their own, for end-to-end tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from bench.taco_process import TacoProcess, start_taco
from ops.cluster.servers import RabbitServer, RedisServer
from tests.support.programs import Programs, settings_on

Start = Callable[..., Awaitable[TacoProcess]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start `taco up` on a folder of the test's own (again, if it is the same); whatever still runs at the end is killed."""
    started: list[TacoProcess] = []

    async def begin(*options: str, folder: str = "data", **more: str) -> TacoProcess:
        taco = await start_taco(tmp_path / folder, *options, env=more, cwd=tmp_path)
        started.append(taco)
        return taco

    yield begin
    for taco in started:
        await taco.kill()


@pytest.fixture
async def programs(tmp_path: Path, redis_server: RedisServer, rabbit_server: RabbitServer) -> AsyncIterator[Programs]:
    """With a Redis prefix and a vhost of the test's own."""
    own = uuid4().hex[:8]
    programs = Programs(
        tmp_path, settings_on(tmp_path, f"{redis_server.dsn}?prefix={own}:", rabbit_server.add_vhost(own))
    )
    yield programs
    await programs.kill_all()


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Programs]:
    """Where no server is."""
    programs = Programs(tmp_path, settings_on(tmp_path, "redis://127.0.0.1:1/0", "amqp://127.0.0.1:1/"))
    yield programs
    await programs.kill_all()
