"""A program's life: it starts when it can, says where it is, and ends when it is told."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ops import process
from ops.admin.settings import AdminSettings
from ops.process_settings import ProcessSettings
from ops.program import Life, Made, Plan, Serving, Where
from push_core.adapters import GatewayPorts, StoreSettings
from push_core.clock import Clock
from push_core.errors import ConfigError, Unavailable

QUICK = ProcessSettings(stop_s=5.0, retry_s=0.05, say_every_s=10.0, collect_after=50_000)


@dataclass
class Program:
    """Fails to start by a script: one entry a try."""

    fails: list[Exception] = field(default_factory=list)
    hangs: bool = False
    tries: int = 0
    stopped_with_s: float | None = None
    reasons: list[str] = field(default_factory=list)

    async def start(self) -> None:
        self.tries += 1
        if self.fails:
            raise self.fails.pop(0)

    async def stop(self, grace_s: float) -> None:
        self.stopped_with_s = grace_s
        if self.hangs:
            await asyncio.Event().wait()

    async def missing(self) -> list[str]:
        return self.reasons


class Running:
    """A life as a task of this very process; signals are real."""

    def __init__(
        self,
        program: Program,
        folder: Path,
        settings: ProcessSettings = QUICK,
        admin_port: int = 0,
        announce: Callable[[Serving], None] | None = None,
    ) -> None:
        self.said: list[Serving] = []
        self.opened: list[GatewayPorts] = []
        stores = StoreSettings(
            messages=f"sqlite:///{folder}/m.sqlite", devices=f"sqlite:///{folder}/d.sqlite", cluster_key="k"
        )

        def make(ports: GatewayPorts, _: Clock) -> Made:
            self.opened.append(ports)
            return Made(program, lambda: Where({"ws": 5}, "ws://here"))

        plan = Plan(
            "gateway", "gw-1", "west", GatewayPorts, make, stores, settings, AdminSettings(port=admin_port), folder
        )
        self.life = Life(plan)
        self.task = asyncio.create_task(self.life.run(announce or self.said.append))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition() and not self.task.done():
                await asyncio.sleep(0.005)

    async def told(self) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            return await self.task


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """When the process would have ended whatever hangs; here it goes on."""
    asked: list[tuple[float, int]] = []
    monkeypatch.setattr(process, "exit_after", lambda seconds, status: asked.append((seconds, status)))
    monkeypatch.setattr(process, "settle_collector", lambda _: None)
    return asked


async def readyz(port: int) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body.decode()


async def test_it_says_where_it_serves_and_ends_with_0_when_it_is_told(
    tmp_path: Path, ends: list[tuple[float, int]]
) -> None:
    program = Program()
    running = Running(program, tmp_path)
    await running.until(lambda: bool(running.said))
    (said,) = running.said
    assert (said.name, said.role, said.pid, said.zone, said.url) == (
        "gw-1",
        "gateway",
        os.getpid(),
        "west",
        "ws://here",
    )
    assert set(said.ports) == {"ws", "admin"}
    assert await readyz(said.ports["admin"]) == (200, '{"ready":true}')
    program.reasons = ["this node's lease is not held"]
    status, body = await readyz(said.ports["admin"])
    assert status == 503
    assert "lease is not held" in body
    assert await running.told() == 0
    assert program.stopped_with_s == pytest.approx(4.5)
    assert ends == [(6.0, 1)]


async def test_while_a_server_is_down_it_tries_again_and_readyz_says_why(
    tmp_path: Path, ends: list[tuple[float, int]]
) -> None:
    program = Program(fails=[Unavailable("no Redis at 127.0.0.1:1")] * 3)
    running = Running(program, tmp_path)
    await running.until(lambda: running.life.waits_for != "")
    assert await running.life.missing() == ["starting: no Redis at 127.0.0.1:1"]
    await running.until(lambda: bool(running.said))
    assert program.tries == 4
    assert len(running.opened) == 4, "the stores are opened anew for each try"
    assert await running.told() == 0


async def test_told_to_stop_while_it_waits_it_ends_at_once(tmp_path: Path, ends: list[tuple[float, int]]) -> None:
    program = Program(fails=[Unavailable("down")] * 10_000)
    running = Running(program, tmp_path, ProcessSettings(stop_s=5.0, retry_s=3_600.0))
    await running.until(lambda: program.tries >= 1)
    assert await running.told() == 0
    assert program.stopped_with_s is None
    assert running.said == []


async def test_what_can_never_start_is_told_at_once(tmp_path: Path, ends: list[tuple[float, int]]) -> None:
    running = Running(Program(fails=[ConfigError("[gateway] port: 1 is taken")]), tmp_path)
    with pytest.raises(ConfigError, match="port: 1 is taken"):
        await running.task


async def test_a_program_that_hangs_is_cut_off_with_1(tmp_path: Path, ends: list[tuple[float, int]]) -> None:
    program = Program(hangs=True)
    running = Running(program, tmp_path, ProcessSettings(stop_s=0.1))
    await running.until(lambda: bool(running.said))
    assert await running.told() == 1
    assert ends[-1][1] == 1


async def test_without_an_admin_port_there_is_none(tmp_path: Path, ends: list[tuple[float, int]]) -> None:
    running = Running(Program(), tmp_path, admin_port=-1)
    await running.until(lambda: bool(running.said))
    assert running.said[0].ports == {"ws": 5}
    assert await running.told() == 0


async def test_a_reader_of_its_line_that_is_gone_does_not_leave_it_running(
    tmp_path: Path, ends: list[tuple[float, int]]
) -> None:
    def closed(_: Serving) -> None:
        raise BrokenPipeError

    program = Program()
    running = Running(program, tmp_path, announce=closed)
    with pytest.raises(BrokenPipeError):
        await running.task
    assert program.stopped_with_s is not None
