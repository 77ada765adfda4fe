"""Keeps servers running: like the supervisor of the programs, but a server counts as there when it answers, not when it says so."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from ops.cluster.servers import Server, ServerFailed
from ops.cluster.supervisor import Pauses

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.1
PAUSES = Pauses()


class ServerKeeper:
    def __init__(
        self, servers: Sequence[Server], on_change: Callable[[], None] = lambda: None, *, pauses: Pauses = PAUSES
    ) -> None:
        """`on_change` is called on the loop when one of them died or is back."""
        self.servers = servers
        self._on_change = on_change
        self._pauses = pauses
        self._watching: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all at the same time and keep them from then on. Raises ServerFailed; none runs then."""
        starting = [asyncio.to_thread(server.start) for server in self.servers]
        try:
            outcomes = await asyncio.gather(*starting, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
        except BaseException:
            await self.stop()
            raise
        self._on_change()
        self._watching = [
            asyncio.create_task(self._watch(server), name=f"keep {server.name}") for server in self.servers
        ]

    async def stop(self) -> None:
        """Stop all in an orderly way, at the same time; also while they start."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in self.servers))

    async def _watch(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        began, pause_s = loop.time(), None
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if server.running:
                continue
            pause_s = self._pauses.next(pause_s, loop.time() - began)
            log.warning("a server ended; it is started again", name=server.name, pause_s=pause_s)
            self._on_change()
            await asyncio.sleep(pause_s)
            began = loop.time()
            with suppress(ServerFailed):
                await asyncio.to_thread(self._start_logged, server)
            self._on_change()

    @staticmethod
    def _start_logged(server: Server) -> None:
        try:
            server.start()
        except ServerFailed as error:
            log.error("a server does not start", name=server.name, reason=str(error))  # noqa: TRY400 - no traceback
            raise
        log.info("a server is back", name=server.name, pid=server.pid)
