"""A TCP proxy that a test or drill can make slow, narrow, silent or broken while it runs.

    async with TcpProxy("127.0.0.1", 6379) as proxy:
        dsn = f"redis://127.0.0.1:{proxy.port}/0"
        proxy.answer_delay_s = 2.0     # what the server says comes two seconds late
        proxy.jitter_s = 0.5           # and up to half a second later than that, at random
        proxy.stall()                  # nothing passes, connections stay; `proxy.flow()` ends it
        proxy.stall(asks=False)        # the server is heard no more, and hears everything
        proxy.cut()                    # every connection is reset; new ones are taken, unless `proxy.refuse(True)`
        proxy.cut_after = 700          # each is reset once so many bytes of answers have passed: in the middle of something

Bytes keep their order. Each direction of a connection holds at most `BUFFER` chunks; then it reads no more, as a full network would.
"""

import asyncio
import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

CHUNK = 64 * 1024
BUFFER = 1_024
NARROW = 20  # pieces a second that pass a narrow line
_RESET = struct.pack("ii", 1, 0)  # close with a reset: SO_LINGER on, for no time


@dataclass(slots=True)
class _Way:
    """One direction of all connections."""

    flowing: asyncio.Event
    answers: bool


class TcpProxy:
    """To `host:port`, listening on a free port of loopback unless `listen` names one. `seed` draws jitter and where cuts fall."""

    def __init__(self, host: str, port: int, *, listen: int = 0, seed: int = 1) -> None:
        self._target = (host, port)
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._asks, self._answers = _Way(asyncio.Event(), False), _Way(asyncio.Event(), True)
        self.flow()
        self._refusing = False
        self._chance = random.Random(seed)
        self.ask_delay_s = 0.0
        """From when a byte of the client comes until it is passed on."""
        self.answer_delay_s = 0.0
        """The same for bytes of the server."""
        self.jitter_s = 0.0
        """Up to so much is added to both."""
        self.bytes_per_s: float | None = None
        """Of each direction of each connection; None: as fast as it goes."""
        self.cut_after: int | None = None
        """Each connection is reset after at most so many bytes of the server, counted from now on and drawn anew for each."""
        self.cuts = 0
        """Connections that `cut_after` reset."""

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
        self._server = await asyncio.start_server(self._took, "127.0.0.1", self._listen, backlog=4_096)

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()
        if self._connections:
            await asyncio.wait(set(self._connections))
        if server is not None:
            await server.wait_closed()

    def stall(self, *, asks: bool = True, answers: bool = True) -> None:
        """Pass nothing on until `flow`: of the client, of the server, or of both."""
        if asks:
            self._asks.flowing.clear()
        if answers:
            self._answers.flowing.clear()

    def flow(self) -> None:
        self._asks.flowing.set()
        self._answers.flowing.set()

    def cut(self) -> None:
        """Reset every connection."""
        for connection in self._connections:
            connection.cancel()

    def refuse(self, refusing: bool) -> None:
        """Close new connections at once."""
        self._refusing = refusing

    async def flap(self, *, up_s: float, down_s: float) -> None:
        """For ever: all connections cut and none taken for a while, then a while as if nothing were. Cancel it; the proxy is well again then."""
        try:
            while True:
                self.refuse(True)
                self.cut()
                await asyncio.sleep(down_s)
                self.refuse(False)
                await asyncio.sleep(up_s)
        finally:
            self.refuse(False)

    def heal(self) -> None:
        """As at the start; connections stay."""
        self.flow()
        self.refuse(False)
        self.ask_delay_s = self.answer_delay_s = self.jitter_s = 0.0
        self.bytes_per_s = self.cut_after = None

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
            _reset(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, there_writer, self._asks))
                both.create_task(self._pump(there_reader, writer, self._answers))
        except* OSError:
            pass
        finally:
            _reset(there_writer)

    def _delay_s(self, way: _Way) -> float:
        delay_s = self.answer_delay_s if way.answers else self.ask_delay_s
        return delay_s + self._chance.uniform(0.0, self.jitter_s) if self.jitter_s else delay_s

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way) -> None:
        """Until one side ends; then the whole connection does."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(BUFFER)
        left: int | None = None  # bytes until it is cut

        async def send(chunk: bytes) -> None:
            nonlocal left
            if way.answers and self.cut_after is not None:
                if left is None:
                    left = self._chance.randint(1, self.cut_after)
                left -= len(chunk)
                if left <= 0:
                    self.cuts += 1
                    writer.write(chunk[: len(chunk) + left])
                    await writer.drain()
                    await asyncio.sleep(0)  # so that the part goes out before the reset
                    raise ConnectionResetError("cut on purpose")
            writer.write(chunk)
            await writer.drain()

        async def write() -> None:
            while True:
                due, chunk = await chunks.get()
                wait_s = due - loop.time()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                await way.flowing.wait()
                if not chunk:
                    break
                while chunk:
                    piece = max(1, int(self.bytes_per_s / NARROW)) if self.bytes_per_s else len(chunk)
                    await send(chunk[:piece])
                    if self.bytes_per_s:
                        await asyncio.sleep(len(chunk[:piece]) / self.bytes_per_s)
                    chunk = chunk[piece:]
            raise ConnectionResetError("one side has ended")

        async def read() -> None:
            last = 0.0
            while True:
                chunk = b""
                with suppress(OSError):
                    chunk = await reader.read(CHUNK)
                last = max(last, loop.time() + self._delay_s(way))  # jitter must not change the order
                await chunks.put((last, chunk))
                if not chunk:
                    return

        # Whichever fails ends the connection: a writer that is cut while the reader waits, too.
        async with asyncio.TaskGroup() as halves:
            halves.create_task(write())
            halves.create_task(read())


def _reset(writer: asyncio.StreamWriter) -> None:
    """As a network that breaks does it: what was not sent is thrown away."""
    plain = writer.get_extra_info("socket")
    if plain is not None:
        with suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
