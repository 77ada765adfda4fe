import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import JSON, PROTO
from tests.push_gateway.support import Node, Site, open_site
from tests.support.certificates import Authority, Files

BOTH_LOOPS = "test_connection"  # transports differ most in what they do at the ends of connections


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that gateways run on, and where it matters the plain one too."""
    if BOTH_LOOPS in item.nodeid:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """For the loopback interface."""
    return Authority(tmp_path_factory.mktemp("certificates")).issue("127.0.0.1", "localhost")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


@pytest.fixture
async def node(site: Site) -> Node:
    return await site.node()


@pytest.fixture(params=[JSON, PROTO], ids=lambda codec: codec.subprotocol)
def codec(request: pytest.FixtureRequest) -> Codec:
    codec: Codec = request.param
    return codec
