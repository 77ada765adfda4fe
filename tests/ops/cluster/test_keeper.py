"""Servers that are kept: back on the same port with the same DSN after whatever ended them, and gone at the end."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.cluster.keeper import ServerKeeper
from ops.cluster.servers import RedisServer, ServerFailed
from ops.cluster.supervisor import Pauses
from tests.support.servers import require_server

QUICK = Pauses(first_s=0.01, longest_s=0.05)


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    require_server(RedisServer)
    one, two = RedisServer(tmp_path / "one"), RedisServer(tmp_path / "two")
    seen: list[tuple[bool, bool]] = []
    keeper = ServerKeeper([one, two], lambda: seen.append((one.running, two.running)), pauses=QUICK)
    await keeper.start()
    try:
        assert one.answers()
        assert two.answers()
        first, neighbour = one.pid, two.pid
        one.kill()
        await until(lambda: one.running and one.answers() and len(seen) == 3)
        assert one.pid != first
        assert two.pid == neighbour
        assert seen == [(True, True), (False, True), (True, True)]
    finally:
        await keeper.stop()
    assert not one.running
    assert not two.running


async def test_none_is_left_when_one_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_server(RedisServer)
    good, bad = RedisServer(tmp_path / "good"), RedisServer(tmp_path / "bad")
    monkeypatch.setattr(bad, "_ports", {"port": good.port})
    good.start()
    with pytest.raises(ServerFailed, match="redis-server ended with status 1"):
        await ServerKeeper([good, bad], pauses=QUICK).start()
    assert not good.running


async def test_a_server_that_does_not_answer_yet_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_server(RedisServer)
    server = RedisServer(tmp_path)
    monkeypatch.setattr(server, "_answers", lambda: False)
    keeper = ServerKeeper([server], pauses=QUICK)
    starting = asyncio.create_task(keeper.start())
    await until(lambda: server.running)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not server.running


async def test_a_server_that_does_not_come_back_is_tried_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_server(RedisServer)
    server = RedisServer(tmp_path)
    keeper = ServerKeeper([server], pauses=QUICK)
    await keeper.start()
    tries = 0

    def fail() -> None:
        nonlocal tries
        tries += 1
        raise ServerFailed("not now")

    with monkeypatch.context() as patch:
        patch.setattr(server, "_launch", fail)
        server.kill()
        await until(lambda: tries >= 3)
    await until(server.answers)
    await keeper.stop()
    assert not server.running
