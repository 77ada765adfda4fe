"""All three programs in one process on embedded stores: `taco up`.

Composition only: opens the stores, starts the programs so that each finds its neighbours, says where everything is, and stops in the
order in which work flows, so that nothing is handed to somebody who is gone. How messages are handled is the programs' own.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from dispatcher.app import Dispatcher
from ops import demo_app, demo_file, process
from ops.admin.inside import Inside
from ops.data_folder import DataFolder
from ops.demo_file import DemoFile, write_private
from ops.demo_page import DemoPage, PageOf
from ops.settings import AllSettings
from push_api.app import PushApi
from push_core.adapters import open_ports
from push_core.clock import Clock
from push_gateway.app import Gateway

log = structlog.get_logger(__name__)

# Shares of the five seconds in which everything is to end; a program that needs longer is cut off.
STOP_API_S, STOP_GATEWAY_S, STOP_DISPATCHER_S = 1.0, 1.5, 1.5
STOP_ALL_S = 4.5
NAME, ROLE = "taco", "all"  # as whoever looks inside knows this process


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a started Taco is: what `taco up` prints. `grpc` is "" when it is off."""

    demo: DemoFile
    grpc: str

    def to_dict(self) -> dict[str, str]:
        return {**self.demo.to_dict(), "grpc": self.grpc}


class Program(Protocol):
    async def start(self) -> None: ...

    async def stop(self, grace_s: float) -> None: ...

    async def missing(self) -> list[str]: ...


class Local:
    """The programs of one data folder, which the caller has locked."""

    def __init__(self, folder: DataFolder, settings: AllSettings, clock: Clock) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._running = AsyncExitStack()
        self._programs: list[Program] = []
        self._started = False

    async def start(self) -> Addresses:
        """Raises ConfigError (a port is taken, a DSN is wrong) or Unavailable (a store can't be opened); nothing is left running then."""
        async with AsyncExitStack() as started:
            addresses = await self._start(started)
            self._running = started.pop_all()
            return addresses
        raise AssertionError  # not reached: the stack swallows nothing

    async def stop(self) -> None:
        self._started = False
        await self._running.aclose()

    async def _start(self, started: AsyncExitStack) -> Addresses:
        settings, data = self._settings, self._folder.path
        inside = Inside(
            settings.admin,
            role=ROLE,
            name=NAME,
            key=settings.stores.cluster_key,
            ready=self._missing,
            data=data,
        )
        await started.enter_async_context(inside)
        ports = await open_ports(settings.stores, clock=self._clock, data=data)
        started.push_async_callback(ports.close)
        inside.use(ports.metrics)
        known = demo_file.read(data)
        secrets = await demo_app.ensure(ports.devices, known, now=self._clock.wall_ms())
        page_token = demo_app.page_token(known)

        async def run(program: Program, grace_s: float) -> None:
            await program.start()
            self._programs.append(program)
            started.push_async_callback(program.stop, grace_s)

        # Receipts need the dispatcher, deliveries need the gateway, callers need both: stopped in the reverse order, the last acks are
        # still stored, and what is sent meanwhile finds no session and goes to the inbox.
        await run(Dispatcher(settings.dispatcher, ports, self._clock), STOP_DISPATCHER_S)
        # The only gateway has nowhere to send its devices.
        gateway = Gateway(replace(settings.gateway, drain_s=0.0), ports, self._clock)
        await run(gateway, STOP_GATEWAY_S)
        of = PageOf(page_token, secrets.key, secrets.device_secret, from_here(gateway.url))
        page = DemoPage(of, self._clock)
        started.push_async_callback(page.close)
        api = PushApi(settings.api, ports, self._clock, extra_routes=page.routes)
        await run(api, STOP_API_S)
        api_url = from_here(api.url)
        page.use(api_url)

        demo = DemoFile(
            api=api_url,
            gateway=from_here(gateway.url),
            app=demo_app.NAME,
            key=secrets.key,
            device_secret=secrets.device_secret,
            page=demo_app.page_url(api_url, page_token),
        )
        demo_file.write(data, demo)
        self._write_processes(inside.port)
        self._started = True
        return Addresses(demo, api.grpc_address or "")

    async def _missing(self) -> list[str]:
        """What /readyz says: what any of the programs misses."""
        if not self._started:
            return ["starting"]
        found = [await program.missing() for program in self._programs]
        return list(dict.fromkeys(reason for reasons in found for reason in reasons))

    def _write_processes(self, admin_port: int | None) -> None:
        """As a cluster does, so that `taco debug` and `taco status` find this process too."""
        ports = {} if admin_port is None else {"admin": admin_port}
        process = {"name": NAME, "role": ROLE, "pid": os.getpid(), "ports": ports}
        write_private(
            self._folder.path / "cluster.json", json.dumps({"processes": [process], "servers": []}, indent=1) + "\n"
        )


def from_here(url: str) -> str:
    """The address by which this machine reaches what listens on all of its addresses."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def run(folder: DataFolder, settings: AllSettings, announce: Callable[[Addresses], None]) -> int:
    """Run until SIGTERM or Ctrl-C; the exit status. Raises as `Local.start`."""
    process.allow_many_connections()
    with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
        return runner.run(_until_signal(Local(folder, settings, Clock()), announce, settings.process.collect_after))


async def _until_signal(local: Local, announce: Callable[[Addresses], None], collect_after: int) -> int:
    told = process.Told()
    starting = asyncio.ensure_future(local.start())
    waiting = asyncio.ensure_future(told.event.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
        return 0
    try:
        announce(starting.result())
    except BaseException:
        waiting.cancel()
        raise
    process.settle_collector(collect_after)
    await waiting
    log.info("stopping")
    try:
        async with asyncio.timeout(STOP_ALL_S):
            await local.stop()
    except TimeoutError:
        log.error(  # noqa: TRY400 - where it hung is not news
            "did not stop in time; what was under way is found in the store at the next start", seconds=STOP_ALL_S
        )
        sys.stderr.flush()
        os._exit(1)  # threads of a driver may hang as well
    log.info("stopped")
    return 0
