"""`taco api`, `taco gateway` and `taco dispatcher` as processes, on whatever stores a test has."""

import asyncio
import itertools
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.taco_process import command
from ops import demo_app
from ops.apps import Secrets
from push_core.adapters import open_devices
from push_core.clock import Clock

START_S = 60.0


@dataclass(slots=True)
class Running:
    """A program that serves, or one that waits for its stores: `said` is its line, empty before that."""

    role: str
    process: Process
    log: Path
    said: dict[str, Any] = field(default_factory=dict)

    async def serves(self, within_s: float = START_S) -> "Running":
        """Wait for its line. Raises AssertionError with its log if it ends instead."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within_s):
            line = await self.process.stdout.readline()
        assert line, f"{self.role} ended with {await self.process.wait()}: {self.log.read_text()}"
        self.said = json.loads(line)
        return self

    @property
    def url(self) -> str:
        return str(self.said["url"])

    @property
    def admin(self) -> int:
        return int(self.said["ports"]["admin"])

    async def ended(self, within_s: float = 60.0) -> int:
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    async def terminated(self, within_s: float = 60.0) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended(within_s)

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def troubles(self) -> list[dict[str, Any]]:
        return [line for line in self.logged() if line.get("level") in ("error", "critical")]

    async def until_logged(self, text: str, within_s: float = 60.0) -> dict[str, Any]:
        """The first line of the log that has the text in it."""
        async with asyncio.timeout(within_s):
            while True:
                for line in self.logged():
                    if text in json.dumps(line):
                        return line
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.02)


class Programs:
    """Those of one test; `env` are the settings that they share. Whatever still runs at the end is killed."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = dict(env)
        self.running: list[Running] = []
        self._numbers = itertools.count(1)

    async def begin(self, role: str, *options: str, **more: str) -> Running:
        """Started; it may not serve yet."""
        log = self.folder / f"{role}-{next(self._numbers)}.log"  # several may begin at once
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TACO_")}
        ports = {"api": ("--port", "0"), "gateway": ("--port", "0")}.get(role, ())
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command(role, *ports, "--data", str(self.folder / "data"), *options),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=stderr,
                env=clean | self.env | more,
                cwd=self.folder,
            )
        running = Running(role, process, log)
        self.running.append(running)
        return running

    async def start(self, role: str, *options: str, **more: str) -> Running:
        return await (await self.begin(role, *options, **more)).serves()

    async def kill_all(self) -> None:
        for running in self.running:
            await running.kill()


async def probe(port: int, path: str) -> tuple[int, Any]:
    """Status and JSON of a page of an admin port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), json.loads(body)


def settings_on(folder: Path, redis: str, queues: str) -> dict[str, str]:
    """SQLite files in the folder, and these servers."""
    return {
        "TACO_STORES_MESSAGES": f"sqlite:///{folder}/messages.sqlite",
        "TACO_STORES_DEVICES": f"sqlite:///{folder}/devices.sqlite",
        "TACO_STORES_PRESENCE": redis,
        "TACO_STORES_CLAIMS": redis,
        "TACO_STORES_LIMITS": redis,
        "TACO_STORES_QUEUES": queues,
        "TACO_STORES_CLUSTER_KEY": "a key of all programs",
        "TACO_GATEWAY_DRAIN_LEAVE_S": "0.2",  # the devices here do not follow `migrate`
    }


async def make_app(programs: Programs) -> Secrets:
    devices = await open_devices(programs.env["TACO_STORES_DEVICES"])
    try:
        return await demo_app.ensure(devices, None, now=Clock().wall_ms())
    finally:
        await devices.close()
