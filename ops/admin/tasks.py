"""Every asyncio task of a process: what it is called, how old it is, where it waits; the same ones counted together."""

import asyncio
import re
import time
from collections.abc import Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.admin.frames import innermost_of_ours, waits_of

SLICE = 100  # tasks looked at before the loop gets its turn: well under a millisecond
_UNNAMED = re.compile(r"Task-\d+$")
_NUMBER = re.compile(r"\d+")


def born(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **given: Any
) -> asyncio.Task[Any]:
    """A task factory that notes when each task was made: 0.4 µs a task."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **given)
    task.born = time.monotonic()  # type: ignore[attr-defined]
    return task


@dataclass(slots=True)
class Group:
    """Tasks of one name that wait at one place. Ages in seconds, None when the task was made before they were noted."""

    name: str
    at: str
    stack: list[str]
    count: int = 0
    oldest_s: float | None = None
    youngest_s: float | None = None
    examples: list[str] = field(default_factory=list)

    def add(self, task_name: str, age_s: float | None) -> None:
        self.count += 1
        if age_s is not None:
            self.oldest_s = max(self.oldest_s or 0.0, age_s)
            self.youngest_s = age_s if self.youngest_s is None else min(self.youngest_s, age_s)
        if len(self.examples) < 3:
            self.examples.append(task_name)


def number_of(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number of a query, 1 to `most`. Raises ValueError with a sentence."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise ValueError(f"{name} must be a whole number from 1 to {most}, got {text[:20]!r}")
    return int(text)


async def tasks_page(query: Mapping[str, str]) -> dict[str, Any]:
    """Groups, the largest first: `{"tasks":n,"groups":[{"name","count","oldest_s","youngest_s","at","stack","examples"}…]}`.
    Query: `limit`, how many groups (200); `name`, a part of the name. A group's stack is that of one of its tasks."""
    limit = number_of(query, "limit", 200, 10_000)
    wanted = query.get("name", "")
    now = time.monotonic()
    tasks = asyncio.all_tasks()
    groups: dict[tuple[str, str], Group] = {}
    for number, task in enumerate(tasks, start=1):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        if task.done():
            continue
        name, called = _name(task)
        if wanted not in called:
            continue
        stack = waits_of(task.get_coro())
        at = innermost_of_ours(stack)
        made = getattr(task, "born", None)
        group = groups.setdefault((name, at), Group(name, at, stack))
        group.add(called, None if made is None else now - made)
    found = sorted(groups.values(), key=lambda group: (-group.count, -(group.oldest_s or 0.0), group.name))
    return {
        "tasks": len(tasks),
        "groups": [
            {
                "name": group.name,
                "count": group.count,
                "oldest_s": _rounded(group.oldest_s),
                "youngest_s": _rounded(group.youngest_s),
                "at": group.at,
                "stack": group.stack,
                "examples": group.examples,
            }
            for group in found[:limit]
        ],
        "groups_left_out": max(0, len(found) - limit),
    }


def _name(task: asyncio.Task[Any]) -> tuple[str, str]:
    """What tasks of its kind have in common, and what itself is called. Nobody's name is that of its coroutine."""
    name = task.get_name()
    if _UNNAMED.match(name):
        name = getattr(task.get_coro(), "__qualname__", name)
        return name, name
    return _NUMBER.sub("N", name), name


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
