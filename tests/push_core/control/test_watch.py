"""ControlWatch: last values hold, whatever the store or the disk do."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from push_core.control.port import Entry
from push_core.control.watch import ControlWatch
from push_core.errors import Unavailable
from push_core.shards import CONTROL_KEY, ShardMap

TWO_ZONES = {"zones": {"a": [[0, 99]], "b": [[100, 255]]}}


class FakeControl:
    """A store in a dict that can be taken away."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.away = False
        self.polled = asyncio.Event()

    def set(self, key: str, value: Any) -> None:
        version = 1 + max((entry.version for entry in self.entries.values()), default=0)
        self.entries[key] = Entry(key, version, value)

    async def put(self, key: str, value: Any, *, expect: int | None = None) -> Entry | None:
        self.set(key, value)
        return self.entries[key]

    async def get(self, keys: Sequence[str]) -> list[Entry | None]:
        return [self.entries.get(key) for key in keys]

    async def since(self, version: int) -> list[Entry]:
        self.polled.set()
        if self.away:
            raise Unavailable("gone")
        return sorted((e for e in self.entries.values() if e.version > version), key=lambda e: e.version)

    async def close(self) -> None: ...


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


async def test_values_are_there_after_the_start_and_follow_the_store(control: FakeControl) -> None:
    control.set("limit", 5)
    watch = ControlWatch(control, None, poll_s=0)
    await watch.start()
    assert (watch.value("limit"), watch.value("none", "default")) == (5, "default")
    seen: asyncio.Queue[Entry] = asyncio.Queue()
    watch.subscribe("limit", seen.put_nowait)
    assert (await seen.get()).value == 5, "told at once of the present value"
    control.set("limit", 6)
    assert (await seen.get()).value == 6
    assert watch.value("limit") == 6
    control.set("limit", None)
    assert (await seen.get()).value is None
    assert watch.value("limit", "default") == "default"
    await watch.stop()


async def test_a_subscriber_that_fails_keeps_the_value_from_nobody(control: FakeControl) -> None:
    def fail(_entry: Entry) -> None:
        raise RuntimeError

    watch = ControlWatch(control, None)
    seen: list[Entry] = []
    watch.subscribe("k", fail)
    watch.subscribe("k", seen.append)
    control.set("k", 1)
    await watch.poll()
    assert [entry.value for entry in seen] == [1]


async def test_a_bad_shard_map_is_refused_and_the_last_good_one_holds(control: FakeControl) -> None:
    watch = ControlWatch(control, None)
    assert watch.shard_map == ShardMap.single()
    control.set(CONTROL_KEY, TWO_ZONES)
    await watch.poll()
    good = watch.shard_map
    assert (good.zone_of(99), good.zone_of(100), good.version) == ("a", "b", 1)
    refused: list[object] = [{"zones": {"a": [[0, 300]]}}, {"zones": {"a": [[0, 9]], "b": [[9, 9]]}}, {}, [], "x"]
    for bad in refused:
        control.set(CONTROL_KEY, bad)
        await watch.poll()
        assert watch.shard_map is good, bad
    control.set(CONTROL_KEY, None)
    await watch.poll()
    assert watch.shard_map == ShardMap.single()


async def test_without_the_store_a_program_starts_from_the_copy_on_disk(control: FakeControl, tmp_path: Path) -> None:
    disk = tmp_path / "folder" / "control.json"
    control.set("limit", 5)
    control.set(CONTROL_KEY, TWO_ZONES)
    first = ControlWatch(control, disk)
    await first.poll()
    control.away = True
    second = ControlWatch(control, disk, poll_s=0)
    await second.start()
    assert second.value("limit") == 5
    assert second.shard_map.zone_of(100) == "b"
    seen: asyncio.Queue[Entry] = asyncio.Queue()
    second.subscribe("new", seen.put_nowait)
    control.set("new", 1)
    control.away = False
    assert (await seen.get()).value == 1, "and follows it when it is back"
    await second.stop()


async def test_a_store_that_was_made_anew_is_followed_although_its_versions_are_lower(
    control: FakeControl, tmp_path: Path
) -> None:
    disk = tmp_path / "control.json"
    disk.write_bytes(msgspec.json.encode([Entry("limit", 900, 5)]))
    control.away = True
    watch = ControlWatch(control, disk, poll_s=3_600)
    await watch.start()
    assert watch.value("limit") == 5
    control.away = False
    control.set("limit", 6)
    await watch.poll()
    assert watch.value("limit") == 6
    await watch.stop()


@pytest.mark.parametrize("content", [None, b"", b"{", b'[{"key":1}]'])
async def test_without_store_and_readable_copy_every_key_has_its_default(
    control: FakeControl, tmp_path: Path, content: bytes | None
) -> None:
    disk = tmp_path / "control.json"
    if content is not None:
        disk.write_bytes(content)
    control.away = True
    watch = ControlWatch(control, disk)
    await watch.start()
    assert watch.value("limit", 7) == 7
    assert watch.shard_map == ShardMap.single()
    await watch.stop()


async def test_a_copy_is_replaced_whole(control: FakeControl, tmp_path: Path) -> None:
    disk = tmp_path / "control.json"
    watch = ControlWatch(control, disk)
    for value in ("x" * 10_000, "short"):
        control.set("k", value)
        await watch.poll()
        assert [entry["value"] for entry in msgspec.json.decode(disk.read_bytes())] == [value]
    assert os.listdir(tmp_path) == ["control.json"]  # noqa: PTH208 - a test may block


async def test_a_copy_that_cannot_be_written_stops_nobody(control: FakeControl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    watch = ControlWatch(control, tmp_path / "file" / "control.json")
    control.set("k", 1)
    await watch.poll()
    assert watch.value("k") == 1


async def test_the_last_values_hold_while_the_store_is_away(control: FakeControl) -> None:
    control.set("k", 1)
    watch = ControlWatch(control, None, poll_s=0)
    await watch.start()
    control.away = True
    for _ in range(3):
        control.polled.clear()
        await control.polled.wait()
    assert watch.value("k") == 1
    await watch.stop()
    control.polled.clear()
    await asyncio.sleep(0)
    assert not control.polled.is_set()
