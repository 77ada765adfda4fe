from collections.abc import AsyncIterator

import pytest

from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import JSON, PROTO
from tests.push_gateway.support import Node, Site, open_site


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
