"""The endpoint that Autobahn's client talks to."""

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from sdk_proto.wire.subprotocols import JSON
from tests.autobahn.echo import open_echo


async def test_it_says_back_what_it_is_told_and_answers_a_close() -> None:
    async with (
        open_echo() as url,
        connect(url, subprotocols=[Subprotocol(JSON.subprotocol)], max_size=None, proxy=None) as socket,
    ):
        for message in ("words", b"bytes", "", b"x" * 300_000, "käse" * 20_000):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.close(3_000)
        assert socket.close_code == 3_000
