"""A cluster on this machine: starts the servers, then the programs, keeps all of them running, and ends them in the order in which work flows.

Composition only. DATA then holds: `cluster.json` (what runs now), `demo.json` (how to reach it), `cluster.toml` (the programs' settings),
`log/`, `servers/NAME/` and `programs/NAME/`.
"""

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import structlog

from ops import demo_app, demo_file, process
from ops.cluster import plan, settings_file
from ops.cluster.keeper import ServerKeeper
from ops.cluster.plan import API, DISPATCHER, GATEWAY, Options, Planned
from ops.cluster.servers import MariaServer, RabbitServer, RedisServer, ServerFailed
from ops.cluster.supervisor import Child, ChildFailed, State, Supervisor
from ops.data_folder import DataFolder
from ops.demo_file import DemoFile, write_private
from ops.local import Addresses
from ops.settings import Overrides, load_all
from push_core.adapters import open_devices
from push_core.clock import Clock
from push_core.errors import TacoError
from push_core.messages.ranges import split
from push_core.sql.upgrade import upgrade_store

log = structlog.get_logger(__name__)

FILE = "cluster.json"
READY_S = 90.0
MARGIN_S = 2.0  # a program ends itself by its stop_s; what hangs beyond that is killed
SERVERS_STOP_S = 25.0
MAX_CONNECTIONS = 500  # of the database: every program has a pool


class Cluster:
    """What runs in one data folder, which the caller has locked."""

    def __init__(self, folder: DataFolder, options: Options) -> None:
        """Raises ConfigError: a folder or a file in it can't be used, a port is asked for twice."""
        data = self._data = folder.path
        (data / plan.LOGS).mkdir(exist_ok=True)
        redis = RedisServer(data / "servers" / "redis")
        maria = MariaServer(data / "servers" / "mariadb", max_connections=MAX_CONNECTIONS)
        rabbit = RabbitServer(data / "servers" / "rabbitmq")
        own = plan.shared_settings(redis, maria, rabbit, options, folder.cluster_key())
        if options.config is not None:
            load_all(data, options.config, os.environ, Overrides())  # so that complaints name the user's file
        settings_file.write(data / plan.SETTINGS, settings_file.merged(own, options.config))
        settings = load_all(data, data / plan.SETTINGS, os.environ, Overrides())
        self._stores = settings.stores
        self._grace_s = settings.process.stop_s + MARGIN_S
        self._planned = plan.processes(data, options)
        self._keeper = ServerKeeper([redis, maria, rabbit], self._write)
        self._running = AsyncExitStack()
        self._supervisor: Supervisor | None = None

    @property
    def stop_all_s(self) -> float:
        """By then all of it has stopped, or is cut off."""
        return 3 * self._grace_s + SERVERS_STOP_S

    async def start(self) -> Addresses:
        """Raises ServerFailed, ChildFailed or TacoError; nothing is left running then."""
        async with AsyncExitStack() as started:
            self._write()  # the last one may have been killed
            started.callback(self._write)
            await self._keeper.start()
            started.push_async_callback(self._keeper.stop)
            await self._upgrade()
            addresses = await self._make_demo()
            supervisor = self._supervisor = Supervisor(self._changed)
            started.push_async_callback(self._stop_programs, supervisor)
            for planned in self._planned:
                supervisor.start(planned.spec(self._data))
            await supervisor.ready(within_s=READY_S)
            self._running = started.pop_all()
            return addresses
        raise AssertionError  # not reached: the stack swallows nothing

    async def stop(self) -> None:
        log.info("stopping")
        await self._running.aclose()
        log.info("stopped")

    async def _stop_programs(self, supervisor: Supervisor) -> None:
        # Nothing new comes in, then nothing more goes out, and the last receipts still find who stores them.
        for role in (API, GATEWAY, DISPATCHER):
            names = [planned.name for planned in self._planned if planned.role == role]
            await supervisor.stop(*names, grace_s=self._grace_s)

    async def _upgrade(self) -> None:
        """What `taco db upgrade` does: a program never does it by itself."""
        for store in split(self._stores.messages):
            await asyncio.to_thread(upgrade_store, store.dsn, "messages")
        await asyncio.to_thread(upgrade_store, self._stores.devices, "devices")

    async def _make_demo(self) -> Addresses:
        """The demo app, and DATA/demo.json: before the programs start, for the API's page reads it. The ports are known already."""
        known = demo_file.read(self._data)
        devices = await open_devices(self._stores.devices)
        try:
            secrets = await demo_app.ensure(devices, known, now=Clock().wall_ms())
        finally:
            await devices.close()
        api, gateway = self._first(API), self._first(GATEWAY)
        url = f"http://127.0.0.1:{api.ports['http']}" if api else ""
        demo = DemoFile(
            api=url,
            gateway=f"ws://127.0.0.1:{gateway.ports['ws']}/v1/connect" if gateway else "",
            app=demo_app.NAME,
            key=secrets.key,
            device_secret=secrets.device_secret,
            page=demo_app.page_url(url, demo_app.page_token(known)),
        )
        demo_file.write(self._data, demo)
        return Addresses(demo, f"127.0.0.1:{api.ports['grpc']}" if api else "")

    def _first(self, role: str) -> Planned | None:
        return next((planned for planned in self._planned if planned.role == role), None)

    def _changed(self, _: Child) -> None:
        self._write()

    def _write(self) -> None:
        """DATA/cluster.json: what runs at this moment. Who died is not in it until it is started again."""
        children = {child.spec.name: child for child in self._supervisor.children} if self._supervisor else {}
        processes: list[dict[str, Any]] = []
        for planned in self._planned:
            child = children.get(planned.name)
            if child is None or child.pid is None:
                continue
            said = child.said or {}
            processes.append(
                {
                    "name": planned.name,
                    "role": planned.role,
                    "pid": child.pid,
                    "ports": {**planned.ports, **said.get("ports", {})},
                    "url": said.get("url", ""),
                    "state": child.state.value,
                }
            )
        servers = [
            {
                "name": server.name,
                "pid": server.pid,
                "dsn": server.dsn,
                "state": (State.READY if server.ready else State.STARTING).value,
            }
            for server in self._keeper.servers
            if server.running
        ]
        write_private(self._data / FILE, json.dumps({"processes": processes, "servers": servers}, indent=1) + "\n")


def run(folder: DataFolder, options: Options, announce: Callable[[Addresses], None]) -> int:
    """Run until SIGTERM or Ctrl-C; the exit status. Raises as `Cluster` and its `start`."""
    with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
        return runner.run(_until_told(Cluster(folder, options), announce))


async def _until_told(cluster: Cluster, announce: Callable[[Addresses], None]) -> int:
    told = process.Told()  # a second signal ends us at once, and the kernel then all that we started
    starting = asyncio.ensure_future(cluster.start())
    waiting = asyncio.ensure_future(told.event.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            process.exit_after(cluster.stop_all_s, 1)
            starting.cancel()
            with suppress(asyncio.CancelledError, ServerFailed, ChildFailed, TacoError):
                await starting
            return 0
        addresses = starting.result()
        try:
            announce(addresses)
            await waiting
        finally:
            process.exit_after(cluster.stop_all_s, 1)
            await cluster.stop()
    finally:
        waiting.cancel()
    return 0


def read(data: Path) -> dict[str, Any]:
    """DATA/cluster.json. Raises FileNotFoundError."""
    found: dict[str, Any] = json.loads((data / FILE).read_text())
    return found
