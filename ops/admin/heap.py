"""What fills the memory of a process: objects by type, counted in slices so that the loop keeps turning.

Only what the collector tracks is seen (containers and instances, not lone strings and numbers), and not what was frozen at the start, which
does not grow. `tracemalloc` adds the lines that allocated most, if the process was started with PYTHONTRACEMALLOC=1.
"""

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Mapping
from typing import Any

from ops.admin.frames import short_path
from ops.admin.samples import memory
from ops.admin.tasks import number_of

SLICE = 1_000  # objects: about half a millisecond
MOST = 1_000_000  # objects looked at; of more every n-th is taken and the figures are scaled


async def heap_page(query: Mapping[str, str]) -> dict[str, Any]:
    """`{"rss_bytes","peak_rss_bytes","objects","looked_at","frozen","types":[{"type","count","bytes"}…],"tracemalloc":[…] or null}`.
    Query: `limit`, how many types (30); `by`, bytes or count."""
    limit = number_of(query, "limit", 30, 1_000)
    by = query.get("by", "bytes")
    if by not in ("bytes", "count"):
        raise ValueError(f"by must be bytes or count, got {by[:20]!r}")
    counts: dict[type, list[int]] = {}
    objects = looked_at = 0
    for generation in (0, 1, 2):
        found = gc.get_objects(generation)
        objects += len(found)
        stride = max(1, -(-len(found) // MOST))
        for start in range(0, len(found), SLICE * stride):
            for thing in found[start : start + SLICE * stride : stride]:
                entry = counts.setdefault(type(thing), [0, 0])
                entry[0] += stride
                entry[1] += stride * _size(thing)
                looked_at += 1
            thing = None
            await asyncio.sleep(0)
        del found
    column = 1 if by == "bytes" else 0
    largest = sorted(counts.items(), key=lambda item: -item[1][column])[:limit]
    rss, peak = memory()
    return {
        "rss_bytes": rss,
        "peak_rss_bytes": peak,
        "objects": objects,
        "looked_at": looked_at,
        "frozen": gc.get_freeze_count(),
        "types": [
            {"type": f"{kind.__module__}.{kind.__qualname__}", "count": count, "bytes": size}
            for kind, (count, size) in largest
        ],
        "tracemalloc": await asyncio.to_thread(_lines, limit) if tracemalloc.is_tracing() else None,
    }


def _size(thing: object) -> int:
    try:
        return sys.getsizeof(thing)
    except Exception:  # noqa: BLE001 - any class may have a __sizeof__ of its own
        return 0


def _lines(limit: int) -> list[dict[str, Any]]:
    statistics = tracemalloc.take_snapshot().statistics("lineno")[:limit]
    return [
        {
            "at": f"{short_path(line.traceback[0].filename)}:{line.traceback[0].lineno}",
            "count": line.count,
            "bytes": line.size,
        }
        for line in statistics
    ]
