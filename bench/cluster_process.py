"""`taco cluster` as a process of its own: started, found, hurt one process at a time, stopped. For benchmarks, drills and end-to-end tests.

    async with start_cluster(folder, gateways=2, dispatchers=2) as cluster:
        cluster.kill("dispatcher-1")  # SIGKILL; the cluster starts it again
        await cluster.back("dispatcher-1", within_s=15)
        cluster.redis.pause()  # SIGSTOP
        cluster.redis.resume()
        cluster.rabbit.server.ctl("delete_queue", name, "--vhost", "taco")

To put a proxy between the programs and a server: the server's port and password are drawn when its folder is made, so make the object
first (`RedisServer(data / "servers" / "redis")`, not started), and give `config=` a TOML file with `[stores] presence = "redis://…"`.
"""

import asyncio
import json
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.taco_process import DidNotStart, command
from ops.cluster.servers import MariaServer, RabbitServer, RedisServer, Server

START_S = 180.0  # RabbitMQ alone takes five seconds of a core; no test waits for it when all is well
STOP_S = 60.0
LOOK_EVERY_S = 0.02

S = TypeVar("S", bound=Server)


class NotRunning(LookupError):
    """It is between two lives, or was never part of this cluster."""


@dataclass(slots=True)
class ClusterProcess:
    """A running `taco cluster`. What it logs goes to `log`, what its programs log to `data/log/NAME.log`; the addresses and secrets are
    those of its demo app. Every look is at `data/cluster.json` as it is now."""

    process: Process
    data: Path
    log: Path
    api: str
    gateway: str
    grpc: str
    app: str
    key: str
    device_secret: str
    page: str
    redis: "ServerProcess[RedisServer]" = field(init=False)
    maria: "ServerProcess[MariaServer]" = field(init=False)
    rabbit: "ServerProcess[RabbitServer]" = field(init=False)

    def __post_init__(self) -> None:
        servers = self.data / "servers"
        self.redis = ServerProcess(self, RedisServer(servers / "redis"))
        self.maria = ServerProcess(self, MariaServer(servers / "mariadb"))
        self.rabbit = ServerProcess(self, RabbitServer(servers / "rabbitmq"))

    @property
    def pid(self) -> int:
        return self.process.pid

    def state(self) -> dict[str, Any]:
        """cluster.json: {"processes": [{"name", "role", "pid", "ports", "url", "state"}…], "servers": [{"name", "pid", "dsn", "state"}…]}."""
        state: dict[str, Any] = json.loads((self.data / "cluster.json").read_text())
        return state

    def running(self, name: str) -> dict[str, Any]:
        """The entry of a process or server. Raises NotRunning."""
        state = self.state()
        for entry in (*state["processes"], *state["servers"]):
            if entry["name"] == name:
                return dict(entry)
        raise NotRunning(f"{name} does not run; {', '.join(each['name'] for each in state['processes'])} do")

    def names(self, role: str) -> list[str]:
        """Of the processes that run: "api", "gateway" or "dispatcher"."""
        return [entry["name"] for entry in self.state()["processes"] if entry["role"] == role]

    @property
    def apis(self) -> list[str]:
        """http://127.0.0.1:PORT of each API."""
        return [f"http://127.0.0.1:{self.running(name)['ports']['http']}" for name in self.names("api")]

    @property
    def gateways(self) -> list[str]:
        """ws://127.0.0.1:PORT/v1/connect of each gateway, in the order of their names while all run. Their ports stay the same."""
        return [f"ws://127.0.0.1:{self.running(name)['ports']['ws']}/v1/connect" for name in self.names("gateway")]

    def pid_of(self, name: str) -> int:
        return int(self.running(name)["pid"])

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a process or server a signal; the process id that got it."""
        pid = self.pid_of(name)
        os.kill(pid, number)
        return pid

    def kill(self, name: str) -> int:
        return self.signal(name, signal.SIGKILL)

    def pause(self, name: str) -> int:
        return self.signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> int:
        return self.signal(name, signal.SIGCONT)

    async def back(self, name: str, *, after: int, within_s: float) -> float:
        """Wait until it runs as another process than `after` and serves again; the seconds that took. Raises TimeoutError."""
        began = time.monotonic()
        async with asyncio.timeout(within_s):
            while True:
                try:
                    entry = self.running(name)
                except NotRunning:
                    entry = {"pid": after}
                if entry["pid"] != after and entry["state"] == "ready":
                    return time.monotonic() - began
                await asyncio.sleep(LOOK_EVERY_S)

    async def stop(self, within_s: float = STOP_S) -> int:
        """SIGTERM; the exit status. Raises TimeoutError (and kills it) if it does not end."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                return await self.process.wait()
        except TimeoutError:
            await self.kill_all()
            raise

    async def kill_all(self) -> None:
        """SIGKILL to the starter; the kernel ends what it started."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def log_lines(self) -> list[dict[str, object]]:
        """What the starter has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def log_of(self, name: str) -> str:
        """What a program has logged, or a server ("redis", "mariadb", "rabbitmq")."""
        program = self.data / "log" / f"{name}.log"
        return (program if program.exists() else self.data / "servers" / name / "server.log").read_text(
            errors="replace"
        )


@dataclass(frozen=True)
class ServerProcess(Generic[S]):
    """A server of the cluster. `server` is not the one that runs it: it knows its DSN and port (and `ctl` for RabbitMQ)."""

    cluster: ClusterProcess = field(repr=False)
    server: S

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def dsn(self) -> str:
        return self.server.dsn

    @property
    def pid(self) -> int:
        """Raises NotRunning."""
        return self.cluster.pid_of(self.name)

    def kill(self) -> int:
        return self.cluster.kill(self.name)

    def terminate(self) -> int:
        """SIGTERM: it ends in its own way, and the cluster starts it again."""
        return self.cluster.signal(self.name, signal.SIGTERM)

    def pause(self) -> int:
        return self.cluster.pause(self.name)

    def resume(self) -> int:
        return self.cluster.resume(self.name)

    async def back(self, *, after: int, within_s: float) -> float:
        return await self.cluster.back(self.name, after=after, within_s=within_s)


@asynccontextmanager
async def start_cluster(
    data: Path,
    *,
    gateways: int = 2,
    dispatchers: int = 2,
    apis: int = 1,
    relays: int = 0,
    workers: int = 1,
    config: Path | None = None,
    options: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[ClusterProcess]:
    """Start on free ports, wait until all serve, and stop at the end (kill, if it ends with an exception). `data` is its folder, its log a file
    beside it; `options` are further ones of the command (`{"--metrics": "null://"}`). Raises DidNotStart."""
    arguments = {
        "--data": str(data),
        "--gateways": str(gateways),
        "--dispatchers": str(dispatchers),
        "--apis": str(apis),
        "--relays": str(relays),
        "--workers": str(workers),
        "--api-port": "0",
        "--gateway-port": "0",
        **({"--config": str(config)} if config else {}),
        **(options or {}),
    }
    cluster = await _start(data, arguments, env or {})
    try:
        yield cluster
    except BaseException:
        await cluster.kill_all()
        raise
    await cluster.stop()


async def _start(data: Path, arguments: Mapping[str, str], env: Mapping[str, str]) -> ClusterProcess:
    log = data.with_name(data.name + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    flat = [part for option in arguments.items() for part in option]
    with log.open("ab") as stderr:
        begins = stderr.tell()
        process = await asyncio.create_subprocess_exec(
            *command("cluster", "--json", *flat),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=stderr,
            env={**os.environ, **env},
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if not line:
        raise DidNotStart(await process.wait(), log.read_bytes()[begins:].decode(errors="replace"))
    return ClusterProcess(process=process, data=data, log=log, **json.loads(line))
