from collections.abc import AsyncIterator

import pytest

from tests.sdk_proto.python.fake_gateway import FakeGateway, fake_gateway


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with fake_gateway() as gateway:
        yield gateway
