"""A TCP proxy that a test or drill can make slow, narrow, silent or broken while it runs.

    async with TcpProxy("127.0.0.1", 6379) as proxy:
        dsn = f"redis://127.0.0.1:{proxy.port}/0"
        proxy.answer_delay_s = 2.0     # what the server says comes two seconds late
        proxy.stall()                  # nothing passes, connections stay; `proxy.flow()` ends it
        proxy.cut()                    # every connection is reset; new ones are taken, unless `proxy.refuse(True)`

Bytes keep their order. Each direction of a connection holds at most `BUFFER` chunks; then it reads no more, as a full network would.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Self

CHUNK = 64 * 1024
BUFFER = 1_024


class TcpProxy:
    """To `host:port`, listening on a free port of loopback unless `listen` names one."""

    def __init__(self, host: str, port: int, *, listen: int = 0) -> None:
        self._target = (host, port)
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.ask_delay_s = 0.0
        """From when a byte of the client comes until it is passed on."""
        self.answer_delay_s = 0.0
        """The same for bytes of the server."""
        self.bytes_per_s: float | None = None
        """Of each direction of each connection; None: as fast as it goes."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """Known after start."""
        if self._server is None:
            raise RuntimeError("not started")
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._took, "127.0.0.1", self._listen)

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()
        if self._connections:
            await asyncio.wait(set(self._connections))
        if server is not None:
            await server.wait_closed()

    def stall(self) -> None:
        """Pass nothing on until `flow`."""
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection."""
        for connection in self._connections:
            connection.cancel()

    def refuse(self, refusing: bool) -> None:
        """Close new connections at once."""
        self._refusing = refusing

    async def _took(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if not self._refusing:
                await self._pass_on(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a connection that ends, by whatever side or by `cut`, ends here; the server has no use for the news
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, there_writer, lambda: self.ask_delay_s))
                both.create_task(self._pump(there_reader, writer, lambda: self.answer_delay_s))
        except* OSError:
            pass
        finally:
            there_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: Callable[[], float]
    ) -> None:
        """Until one side ends; then the whole connection does."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(BUFFER)

        async def write() -> None:
            while True:
                due, chunk = await chunks.get()
                wait_s = due - loop.time()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                await self._flowing.wait()
                if not chunk:
                    break
                writer.write(chunk)
                await writer.drain()
                if self.bytes_per_s:
                    await asyncio.sleep(len(chunk) / self.bytes_per_s)
            raise ConnectionResetError("one side has ended")

        writing = loop.create_task(write())
        try:
            while True:
                chunk = b""
                with suppress(OSError):
                    chunk = await reader.read(CHUNK)
                await chunks.put((loop.time() + delay_s(), chunk))
                if not chunk:
                    await writing
        finally:
            writing.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await writing
