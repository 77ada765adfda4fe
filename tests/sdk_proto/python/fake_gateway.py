"""A gateway that does what a test tells it: real sockets, scripted answers, no clock of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import SUBPROTOCOLS, choose

WELCOME = f.Welcome(
    version=1,
    session="s-test",
    time=1_790_000_000_000,
    heartbeat=f.Heartbeat(),
    window=32,
    max_frame=65_536,
    reconnect=f.Reconnect(base_ms=1, max_ms=2, factor=1.0),
)


class FakeSession:
    """One signed-in connection, as the test sees it."""

    def __init__(self, connection: ServerConnection, codec: Codec, hello: f.Hello) -> None:
        self.connection = connection
        self.codec = codec
        self.hello = hello
        self.acks: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self.frames: asyncio.Queue[Any] = asyncio.Queue()  # all but acks

    async def send(self, *frames: Any) -> None:
        await self.connection.send(self.codec.encode(frames), text=not self.codec.binary)

    async def push(self, message_id: int, **fields: Any) -> None:
        await self.send(f.Push(id=message_id, **fields))

    async def bye(self, code: int, reason: str = "", retry_after_ms: int = 0) -> None:
        await self.send(f.Bye(code=code, reason=reason, retry_after_ms=retry_after_ms))
        await self.connection.close(code, reason)

    async def cut(self) -> None:
        """The network is gone: no close frame."""
        self.connection.transport.abort()
        await self.connection.wait_closed()

    async def next_acks(self, count: int) -> list[tuple[int, str]]:
        return [await self.acks.get() for _ in range(count)]


class FakeGateway:
    """`answer` decides what a hello gets: a Welcome (the default) or a Bye. Without `pongs` a ping gets no answer."""

    def __init__(self) -> None:
        self.url = ""
        self.sessions: asyncio.Queue[FakeSession] = asyncio.Queue()
        self.hellos: list[f.Hello] = []
        self.hello_came: asyncio.Queue[f.Hello] = asyncio.Queue()
        self.pongs = True
        self.answer: Callable[[f.Hello], f.Welcome | f.Bye | None] = lambda hello: WELCOME

    async def session(self) -> FakeSession:
        """The next connection that signs in."""
        return await self.sessions.get()

    async def _serve(self, connection: ServerConnection) -> None:
        codec = choose([connection.subprotocol or ""])
        assert codec is not None
        try:
            first, *_ = codec.decode_client(await connection.recv(decode=False))
            assert isinstance(first, f.Hello)
            self.hellos.append(first)
            self.hello_came.put_nowait(first)
            session = FakeSession(connection, codec, first)
            answer = self.answer(first)
            if isinstance(answer, f.Bye):
                await session.bye(answer.code, answer.reason, answer.retry_after_ms)
                return
            if answer is not None:
                await session.send(msgspec.structs.replace(answer, session=f"s-{len(self.hellos)}"))
                self.sessions.put_nowait(session)
            while True:
                for frame in codec.decode_client(await connection.recv(decode=False)):
                    await self._took(session, frame)
        except ConnectionClosed:
            return

    async def _took(self, session: FakeSession, frame: Any) -> None:
        if isinstance(frame, f.Ack):
            for message_id in frame.ids:
                session.acks.put_nowait((message_id, frame.status))
            return
        session.frames.put_nowait(frame)
        if isinstance(frame, f.Ping) and self.pongs:
            await session.send(f.Pong(1_790_000_000_000))


@asynccontextmanager
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    gateway = FakeGateway()
    server = await serve(
        gateway._serve,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(name) for name in SUBPROTOCOLS],
        compression=None,
        ping_interval=None,
    )
    async with server:
        gateway.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/connect"
        yield gateway
