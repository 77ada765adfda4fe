"""`amqps://`: the broker's certificate is checked, and ours is shown. TLS ends in a proxy of the test's own, before a broker without it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ops.cluster.servers import Server
from push_core.dsn import Dsn
from push_core.errors import Unavailable
from push_core.queues.amqp import AmqpQueues
from push_core.queues.amqp_settings import SCHEMES, AmqpSettings
from push_core.queues.port import Parcel, Published
from tests.support.amqp import settings_of
from tests.support.certificates import Authority, Files


@asynccontextmanager
async def tls_before(port: int, files: Files) -> AsyncIterator[int]:
    """A port that asks for a certificate and hands on to `port`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
    context.load_cert_chain(files.cert, files.key)
    context.verify_mode = ssl.CERT_REQUIRED

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(hand_on(reader, upstream), hand_on(upstream_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def read(plain: AmqpSettings, port: int, options: str) -> AmqpSettings:
    text = f"amqps://{plain.user}:{plain.password}@127.0.0.1:{port}/{plain.vhost}?prefix={plain.prefix}&timeout_ms=2000&{options}"
    return AmqpSettings.read(Dsn.parse(text, "[stores] queues", SCHEMES))


@pytest.mark.parametrize("size", [1, 200_000])
async def test_bodies_pass_through_tls_with_certificates_of_both_sides(
    rabbit_server: Server, tmp_path: Path, size: int
) -> None:
    files = Authority(tmp_path).issue("127.0.0.1")
    plain = settings_of(rabbit_server.dsn)
    async with tls_before(rabbit_server.port, files) as port:
        options = f"cafile={files.ca}&certfile={files.cert}&keyfile={files.key}"
        queues = AmqpQueues(read(plain, port, options))
        await queues.ping()
        assert await queues.publish([Parcel("q", b"x" * size)]) == [Published.CONFIRMED]
        assert await queues.depth("q") == 1
        await queues.close()


async def test_a_broker_that_shows_another_certificate_is_not_spoken_to(rabbit_server: Server, tmp_path: Path) -> None:
    files = Authority(tmp_path / "theirs").issue("127.0.0.1")
    ours = Authority(tmp_path / "ours").issue("127.0.0.1")
    async with tls_before(rabbit_server.port, files) as port:
        queues = AmqpQueues(read(settings_of(rabbit_server.dsn), port, f"cafile={ours.ca}"))
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await queues.ping()
        await queues.close()
