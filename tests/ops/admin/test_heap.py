"""What fills the memory."""

import tracemalloc

import pytest

from ops.admin.heap import heap_page


class Leaked:
    def __init__(self) -> None:
        self.payload = [0]


async def test_the_types_with_most_objects_come_first() -> None:
    kept = [Leaked() for _ in range(200_000)]
    answer = await heap_page({"by": "count", "limit": "20"})
    found = {entry["type"]: entry["count"] for entry in answer["types"]}
    assert found[f"{__name__}.Leaked"] >= len(kept)
    assert answer["objects"] >= answer["looked_at"] >= len(kept)
    assert answer["rss_bytes"] > 0
    assert answer["tracemalloc"] is None


async def test_a_class_whose_size_cannot_be_asked_does_no_harm() -> None:
    class Odd:
        def __sizeof__(self) -> int:
            raise RuntimeError("no size")

    kept = [Odd() for _ in range(10)]
    assert (await heap_page({}))["objects"] > len(kept)


async def test_with_tracemalloc_the_lines_that_allocated_are_shown() -> None:
    tracemalloc.start()
    try:
        kept = [bytearray(1_000) for _ in range(1_000)]
        answer = await heap_page({"limit": "5"})
    finally:
        tracemalloc.stop()
    assert len(kept) == 1_000
    assert any("test_heap.py" in line["at"] for line in answer["tracemalloc"])


@pytest.mark.parametrize("query", [{"by": "age"}, {"limit": "x"}])
async def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be"):
        await heap_page(query)
