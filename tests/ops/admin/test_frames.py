"""Frames as lines that can be opened."""

import asyncio
import sys
from collections.abc import Generator
from types import coroutine

from ops.admin.frames import innermost_of_ours, is_ours, line_of, stack_of, waits_of
from push_core.batching import Batcher


def test_a_line_names_file_line_and_function() -> None:
    assert line_of(line_of.__code__, 7) == "ops/admin/frames.py:7 in line_of"
    assert line_of(asyncio.Queue.get.__code__, 1).startswith("asyncio/queues.py:1 in Queue.get")
    assert line_of(Batcher.__init__.__code__, 1).startswith("push_core/batching.py:1 in Batcher.")


def test_a_stack_ends_with_the_innermost_frame() -> None:
    assert stack_of(sys._getframe())[-1].endswith("in test_a_stack_ends_with_the_innermost_frame")


async def test_a_chain_of_awaits_is_followed_to_its_end() -> None:
    @coroutine
    def suspended() -> Generator[None, None, None]:
        yield

    async def inner() -> None:
        await suspended()

    async def outer() -> None:
        await inner()

    running = outer()
    running.send(None)
    assert [line.rpartition(".")[2] for line in waits_of(running)] == ["outer", "inner", "suspended"]
    running.close()
    assert waits_of(running) == []


def test_ours_is_found_under_libraries() -> None:
    lines = ["push_core/a.py:1 in f", "push_api/b.py:2 in g", "asyncio/queues.py:3 in get"]
    assert innermost_of_ours(lines) == "push_api/b.py:2 in g"
    assert innermost_of_ours(lines[2:]) == lines[2]
    assert innermost_of_ours([]) == ""
    assert not is_ours(lines[2])
