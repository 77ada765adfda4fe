"""One program as a process of its own: `taco api`, `taco gateway`, `taco dispatcher`.

Opens the stores that the program needs and starts it, again and again while a server is down; says on stdout where it serves; on SIGTERM
has it finish within a bound. Whatever the program does in between is its own.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import structlog

from ops import process
from ops.admin.inside import Inside
from ops.admin.server import Page
from ops.admin.settings import AdminSettings
from ops.process_settings import ProcessSettings
from push_core.adapters import GatewayPorts, StoreSettings, open_ports
from push_core.clock import Clock
from push_core.errors import Unavailable

log = structlog.get_logger(__name__)
P = TypeVar("P", bound=GatewayPorts)

STORES_SHARE = 0.1  # of the time to stop: for closing the stores when the program is done
HANGS_ENDS_S = 0.2
START_ENDS_S = 1.0  # a start that is told to end: nothing is under way, so it need not be orderly


class Program(Protocol):
    """What the three programs have in common."""

    async def start(self) -> None: ...

    async def stop(self, grace_s: float) -> None: ...

    async def missing(self) -> list[str]:
        """Why it isn't ready, a line each."""
        ...


@dataclass(frozen=True, slots=True)
class Where:
    """Where a started program is: its ports by name, and the address that its users need, "" where there is none."""

    ports: Mapping[str, int] = field(default_factory=dict)
    url: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A program on open ports. `where` is asked once it has started. `pages` and `actions` are its own on the admin port;
    `reload` reads files again when SIGHUP asks for it, None: it ends the program, as it does by default."""

    program: Program
    where: Callable[[], Where]
    pages: Mapping[str, Page] = field(default_factory=dict)
    actions: Mapping[str, Page] = field(default_factory=dict)
    reload: Callable[[], None] | None = None


@dataclass(frozen=True)  # no slots: with them Python 3.11 can't make an instance of a frozen generic class
class Plan(Generic[P]):
    """Which program, and on which ports."""

    role: str
    name: str
    zone: str
    only: type[P]
    make: Callable[[P, Clock], Made]
    stores: StoreSettings
    process: ProcessSettings
    admin: AdminSettings
    data: Path | None


@dataclass(frozen=True, slots=True)
class Serving:
    """What a program says on stdout once it serves."""

    name: str
    role: str
    pid: int
    zone: str
    ports: Mapping[str, int]
    url: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "role": self.role,
            "pid": self.pid,
            "zone": self.zone,
            "ports": dict(self.ports),
            "url": self.url,
        }


def run(plan: Plan[P], announce: Callable[[Serving], None]) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit status. Raises ConfigError with a sentence: nothing is left running then."""
    process.allow_many_connections()
    with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
        return runner.run(Life(plan).run(announce))


class Life(Generic[P]):
    """One life of one program."""

    def __init__(self, plan: Plan[P]) -> None:
        self._plan = plan
        self.waits_for = ""
        """What it could not start without at its last try; "" before that."""
        self._ports: P | None = None
        self._made: Made | None = None
        self._inside: Inside | None = None

    async def missing(self) -> list[str]:
        """What /readyz says."""
        if self._made is None:
            return [f"starting: {self.waits_for}" if self.waits_for else "starting"]
        return await self._made.program.missing()

    async def run(self, announce: Callable[[Serving], None]) -> int:
        plan = self._plan
        told = process.Told()
        inside = self._inside = Inside(
            plan.admin,
            role=plan.role,
            name=plan.name,
            key=plan.stores.cluster_key,
            ready=self.missing,
            data=plan.data,
        )
        await inside.start()
        starting = asyncio.ensure_future(self._start_patiently())
        waiting = asyncio.ensure_future(told.event.wait())
        try:
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                log.info("told to stop before it served")
                process.exit_after(START_ENDS_S, 0)
                starting.cancel()
                with suppress(asyncio.CancelledError, Unavailable):
                    await starting
                return 0
            made = starting.result()
            inside.add(made.pages, made.actions)
            if made.reload is not None:
                process.on_hangup(made.reload)
            try:
                announce(self._serving(made.where(), inside.port))
                process.settle_collector(plan.process.collect_after)
                await waiting
            finally:
                status = await self._stop(made)
            return status
        finally:
            waiting.cancel()
            await inside.stop()

    async def _start_patiently(self) -> Made:
        """Raises ConfigError. While a server is down it tries again, with a line in the log now and then."""
        plan, loop = self._plan, asyncio.get_running_loop()
        said, said_at = "", 0.0
        while True:
            try:
                made = await self._start()
            except Unavailable as error:
                self.waits_for = error.message
                if error.message != said or loop.time() - said_at >= plan.process.say_every_s:
                    said, said_at = error.message, loop.time()
                    port = self._inside.port if self._inside is not None else None
                    log.warning(
                        "waiting to start",
                        waits_for=error.message,
                        next_try_s=plan.process.retry_s,
                        admin_port=port,
                    )
                await asyncio.sleep(plan.process.retry_s)
            else:
                if said:
                    log.info("what was waited for is there")
                self._made = made
                return made

    async def _start(self) -> Made:
        plan, clock = self._plan, Clock()
        ports = await open_ports(plan.stores, clock=clock, data=plan.data, only=plan.only)
        if self._inside is not None:
            self._inside.use(ports.metrics)
        try:
            made = plan.make(ports, clock)
            await made.program.start()
        except BaseException:
            await ports.close()
            raise
        self._ports = ports
        return made

    def _serving(self, where: Where, admin_port: int | None) -> Serving:
        plan = self._plan
        ports = dict(where.ports)
        if admin_port is not None:
            ports["admin"] = admin_port
        return Serving(plan.name, plan.role, os.getpid(), plan.zone, ports, where.url)

    async def _stop(self, made: Made) -> int:
        stop_s = self._plan.process.stop_s
        log.info("stopping", within_s=stop_s)
        # The last word has a thread of its own: the loop may be what hangs.
        process.exit_after(stop_s + START_ENDS_S, 1)
        try:
            async with asyncio.timeout(stop_s):
                await made.program.stop(stop_s * (1 - STORES_SHARE))
        except TimeoutError:
            log.error(  # noqa: TRY400 - where it hung is not news
                "did not stop in time; what was under way is found in the store", seconds=stop_s
            )
            process.exit_after(HANGS_ENDS_S, 1)  # threads of a driver may hang as well
            return 1
        try:
            async with asyncio.timeout(stop_s * STORES_SHARE):
                if self._ports is not None:
                    await self._ports.close()
        except (
            TimeoutError
        ):  # all is handed back; a server that hangs holds up a thread that waits for it, and nothing else
            log.warning("a store did not close in time", seconds=stop_s * STORES_SHARE)
            process.exit_after(HANGS_ENDS_S, 0)
        log.info("stopped")
        return 0
