"""One world for each test, closed after it."""

from collections.abc import AsyncIterator

import pytest

from tests.dispatcher.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    opened = await World.open()
    yield opened
    await opened.close()
