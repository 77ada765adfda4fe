"""`taco up` as a process for end-to-end tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bench.taco_process import TacoProcess, start_taco

Start = Callable[..., Awaitable[TacoProcess]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start `taco up` on a folder of the test's own (again, if it is the same); whatever still runs at the end is killed."""
    started: list[TacoProcess] = []

    async def begin(*options: str, folder: str = "data", **more: str) -> TacoProcess:
        taco = await start_taco(tmp_path / folder, *options, env=more, cwd=tmp_path)
        started.append(taco)
        return taco

    yield begin
    for taco in started:
        await taco.kill()
