"""The contract of control: versions from one counter, compare before writing, removed keys stay visible to readers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from push_core.control.port import Control, Entry
from push_core.control.sql import SqlControl
from tests.contracts.sql_stores import OnMaria, OnSqliteFile, OnSqliteMemory


class ControlContract:
    @pytest.fixture
    async def store(self, dsn: str) -> AsyncIterator[Control]:
        store = await SqlControl.open(dsn)
        yield store
        await store.close()

    async def put(self, store: Control, key: str, value: object, expect: int | None = None) -> Entry:
        entry = await store.put(key, value, expect=expect)
        assert entry is not None
        return entry

    async def test_a_value_written_later_has_a_higher_version_than_all_before(self, store: Control) -> None:
        entries = [await self.put(store, key, {"n": n}) for n, key in enumerate(["a", "b", "a", "c"])]
        versions = [entry.version for entry in entries]
        assert versions == sorted(set(versions))
        assert versions[0] > 0
        assert await store.get(["a", "none", "b"]) == [entries[2], None, entries[1]]

    async def test_since_gives_what_is_newer_in_order_of_version(self, store: Control) -> None:
        first, second = await self.put(store, "a", 1), await self.put(store, "b", [None, "x"])
        third = await self.put(store, "a", 3)
        assert await store.since(0) == [second, third]
        assert await store.since(first.version) == [second, third]
        assert await store.since(second.version) == [third]
        assert await store.since(third.version) == []

    async def test_a_removed_key_is_told_to_readers(self, store: Control) -> None:
        there = await self.put(store, "a", 1)
        gone = await self.put(store, "a", None)
        assert await store.since(there.version) == [Entry("a", gone.version, None)]

    async def test_a_write_that_expects_another_version_changes_nothing(self, store: Control) -> None:
        assert await store.put("a", 1, expect=5) is None
        first = await self.put(store, "a", 1, expect=0)
        assert await store.put("a", 2, expect=0) is None
        second = await self.put(store, "a", 2, expect=first.version)
        assert await store.put("a", 3, expect=first.version) is None
        assert await store.get(["a"]) == [second]

    async def test_of_writers_that_expect_the_same_one_wins(self, store: Control) -> None:
        answers = await asyncio.gather(*[store.put("a", n, expect=0) for n in range(20)])
        (won,) = [entry for entry in answers if entry is not None]
        assert await store.get(["a"]) == [won]


class TestControlOnSqliteFile(OnSqliteFile, ControlContract): ...


class TestControlOnSqliteMemory(OnSqliteMemory, ControlContract): ...


class TestControlOnMaria(OnMaria, ControlContract): ...
