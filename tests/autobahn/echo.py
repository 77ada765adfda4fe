"""A gateway's way in that says every message back instead of waiting for a hello: what Autobahn's client can talk to.

Everything below the message is what devices get: handshake, turns of reading, frames, pongs, closes, limits of what is unsent, TLS aside. It lives here
so that no gateway can be told to open it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from push_gateway import websocket_frames as ws
from push_gateway.entrance import Entrance
from push_gateway.handshake import PATH
from tests.push_gateway.support import open_site

LARGEST = 16 * 2**20  # Autobahn's cases 9: messages of 16 MiB, where devices may send 64 KiB


class Echo(Entrance):
    __slots__ = ()

    def _message(self, message: ws.Message) -> None:
        if self.is_open:
            self._transport.write(ws.data_frame(message.payload, text=message.text))


@asynccontextmanager
async def open_echo() -> AsyncIterator[str]:
    """Where it listens."""
    async with open_site() as site:
        node = await site.node(
            max_message_bytes=LARGEST,
            unsent_limit_bytes=4 * LARGEST,
            hello_timeout_s=3_600.0,
            wheel_resolution_s=0.25,
            session_frames_per_s=0.0,
            session_bytes_per_s=0.0,
        )
        server = await asyncio.get_running_loop().create_server(lambda: Echo(node.gateway._context), "127.0.0.1", 0)
        try:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}{PATH}"
        finally:
            server.close()
