"""`taco gateway --workers N`: several gateways on one port, each a process and a node of its own, and their parent, which keeps them running.

The kernel spreads new connections over those that listen (SO_REUSEPORT). The parent serves nobody: it holds the port's number, starts again
what dies, says on its admin port whether any worker is ready, and passes the end on.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog

from ops import process
from ops.admin.client import ask
from ops.admin.inside import Inside
from ops.cluster.supervisor import Child, ChildFailed, Pauses, Spec, State, Supervisor
from ops.settings import AllSettings
from ops.workers_drain import WorkersDrain
from push_core.errors import ConfigError, Unavailable
from push_core.neighbours import Neighbours

log = structlog.get_logger(__name__)

STOP_MARGIN_S = 2.0  # a worker cuts itself off at its bound; only what hangs beyond that is killed
LOOK_S = 600.0  # how long one wait for the workers lasts before the next
PROBE_S = 2.0


@dataclass(frozen=True, slots=True)
class Workers:
    """`arguments`: what each worker is told besides its name and ports, which files and folders to use."""

    settings: AllSettings
    count: int
    arguments: Sequence[str]
    data: Path

    @property
    def names(self) -> list[str]:
        return [f"{self.settings.gateway.name}.{number}" for number in range(1, self.count + 1)]

    def specs(self, port: int) -> list[Spec]:
        """A fixed admin port is the parent's, and the workers' follow it; a fixed port for internal calls is the first worker's."""
        own, admin = self.settings.gateway, self.settings.admin.port
        return [
            Spec(
                name=name,
                role="gateway",
                argv=[
                    *(sys.executable, "-m", "ops.cli", "gateway", "--name", name, "--zone", own.zone),
                    *("--host", own.host, "--port", str(port)),
                    *("--admin-port", str(admin + number if admin > 0 else admin)),
                    *self.arguments,
                ],
                env={
                    "TACO_GATEWAY_REUSE_PORT": "true",
                    "TACO_GATEWAY_DRAIN_RATE": str(max(1, own.drain_rate // self.count)),  # it is the port's
                    "TACO_STORES_RPC": _with_port(self.settings.stores.rpc, number - 1),
                },
            )
            for number, name in enumerate(self.names, start=1)
        ]


def _with_port(dsn: str, offset: int) -> str:
    """The DSN with its port moved on; 0 stays a free one.

    >>> _with_port("grpc://10.0.0.1:7000?advertise=gw", 2), _with_port("grpc://[::1]:0", 2)
    ('grpc://10.0.0.1:7002?advertise=gw', 'grpc://[::1]:0')
    """
    url = urlsplit(dsn)
    if not url.port:
        return dsn
    host = url.netloc.rpartition(":")[0]
    return urlunsplit(url._replace(netloc=f"{host}:{url.port + offset}"))


def run(workers: Workers, announce: Callable[[Mapping[str, Any]], None]) -> int:
    """Until SIGTERM or Ctrl-C; the exit status. Raises ConfigError when the port is taken."""
    with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
        return runner.run(Parent(workers).run(announce))


class Parent:
    """Make it on the loop that it runs on."""

    def __init__(self, workers: Workers) -> None:
        own = workers.settings
        self._workers = workers
        self._settings = own
        self._supervisor = Supervisor(
            self._changed, pauses=Pauses(first_s=own.process.restart_min_s, longest_s=own.process.restart_max_s)
        )
        self._asked = Neighbours(
            {name: self._asker(name) for name in workers.names}, time.monotonic, keep_s=1.0, timeout_s=PROBE_S
        )

    async def missing(self) -> list[str]:
        """Devices that come find a worker that takes them, or why not. One worker is enough: the kernel sends nobody to one that is gone."""
        missing = await self._asked.missing()
        return missing if len(missing) >= self._workers.count else []

    async def run(self, announce: Callable[[Mapping[str, Any]], None]) -> int:
        own = self._settings
        told = process.Told()
        inside = Inside(
            own.admin, role="gateway", name=own.gateway.name, key=own.stores.cluster_key, ready=self.missing
        )
        drain = WorkersDrain(own.gateway.name, own.admin.host, own.stores.cluster_key or "", self._admin_ports)
        inside.add(drain.pages, drain.actions)
        with closing(hold_port(own.gateway.host, own.gateway.port)) as held:
            async with inside:
                try:
                    if own.gateway.tls_cert is not None:
                        process.on_hangup(self._pass_on_hangup)
                    for spec in self._workers.specs(held.getsockname()[1]):
                        self._supervisor.start(spec)
                    return await self._serve(told, inside, announce)
                finally:
                    process.exit_after(own.process.stop_s + 2 * STOP_MARGIN_S, 1)
                    await self._supervisor.stop(grace_s=own.process.stop_s + STOP_MARGIN_S)
                    await self._asked.close()
                    log.info("all workers stopped")

    async def _serve(self, told: process.Told, inside: Inside, announce: Callable[[Mapping[str, Any]], None]) -> int:
        serving = asyncio.ensure_future(self._all_serve())
        waiting = asyncio.ensure_future(told.event.wait())
        try:
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                try:
                    serving.result()
                except ChildFailed as failed:  # it has said why itself, on the stderr that we share
                    log.error("a worker did not start; giving up", reason=str(failed))  # noqa: TRY400
                    return failed.status or 1
                announce(self._said(inside))
                await waiting
            log.info("stopping", workers=self._workers.count)
            return 0
        finally:
            for task in (serving, waiting):
                task.cancel()
                with suppress(asyncio.CancelledError, ChildFailed):
                    await task

    async def _all_serve(self) -> None:
        """However long the servers are down that the workers wait for. Raises ChildFailed when one ended by itself before it served."""
        while True:
            try:
                return await self._supervisor.ready(within_s=LOOK_S)
            except ChildFailed as failed:
                if failed.status is not None:
                    raise

    def _pass_on_hangup(self) -> None:
        """To those that serve: whoever is starting reads its files anyway, and would be ended by it."""
        for child in self._supervisor.children:
            if child.state is State.READY and child.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGHUP)

    def _said(self, inside: Inside) -> dict[str, Any]:
        """As a program's line, with its workers."""
        own, children = self._settings.gateway, self._supervisor.children
        said = [child.said or {} for child in children]
        ports = {"ws": said[0]["ports"]["ws"]}
        if inside.port is not None:
            ports["admin"] = inside.port
        return {
            "name": own.name,
            "role": "gateway",
            "pid": os.getpid(),
            "zone": own.zone,
            "ports": ports,
            "url": said[0]["url"],
            "workers": [{"name": each["name"], "pid": each["pid"], "ports": each["ports"]} for each in said],
        }

    def _admin_ports(self) -> dict[str, int]:
        said = {child.spec.name: (child.said or {}).get("ports", {}) for child in self._supervisor.children}
        return {name: ports["admin"] for name, ports in said.items() if "admin" in ports}

    def _changed(self, child: Child) -> None:
        if child.state is State.READY and child.lives > 1:
            log.info("a worker serves again", name=child.spec.name, pid=child.pid, lives=child.lives)

    def _asker(self, name: str) -> "Callable[[], Any]":
        async def ask() -> None:
            child = next((each for each in self._supervisor.children if each.spec.name == name), None)
            if child is None or child.said is None:
                raise Unavailable("it does not serve yet")
            port = child.said["ports"].get("admin")
            if port is not None and (reasons := await not_ready(self._settings.admin.host, port)):
                raise Unavailable("; ".join(reasons))

        return ask


def hold_port(host: str, port: int) -> socket.socket:
    """A socket that keeps the number for the workers, listening on nothing itself. Raises ConfigError when another program has the port."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if port:
            with socket.socket(
                family, socket.SOCK_STREAM
            ) as alone:  # without sharing: somebody else's gateways are not ours
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind(address)
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError as error:
        raise ConfigError(f"[gateway] port: cannot listen on {host}:{port} ({error.strerror or error})") from None
    return held


async def not_ready(host: str, port: int) -> list[str]:
    """What /readyz of an admin port says. Raises Unavailable when it does not answer."""
    status, said = await ask(host, port, "/readyz")
    if status == 200:
        return []
    try:
        return [str(reason) for reason in said["reasons"]]
    except (KeyError, TypeError):
        return ["its admin port answered with what can't be read"]
