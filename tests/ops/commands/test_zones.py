"""`taco zones`: what it refuses, what it writes, and that nobody's change is overwritten unseen."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ops.commands.output import CommandFailed
from ops.commands.zones import reach, set_map, show
from push_core.adapters import open_control
from push_core.control.port import Entry
from push_core.shards import ShardMap


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'devices.sqlite'}"


def read(dsn: str, key: str) -> Entry | None:
    async def look() -> Entry | None:
        control = await open_control(dsn)
        try:
            return (await control.get([key]))[0]
        finally:
            await control.close()

    return asyncio.run(look())


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))


def test_at_first_one_zone_has_all(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(devices=dsn, as_json=True)
    assert shown(capsys) == {
        "version": 0,
        "zones": {"default": [[0, 255]]},
        "moving": [],
        "addresses_version": 0,
        "receipts": {},
    }


def test_a_map_is_set_and_says_what_moves_and_when(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_map(["default=0-99,200-255", "west=100-199"], delay_s=60.0, devices=dsn, as_json=True)
    said = shown(capsys)
    assert said["zones"] == {"default": [[0, 99], [200, 255]], "west": [[100, 199]]}
    (moving,) = said["moving"]
    assert moving["zones"] == {"default": [[100, 199]]}
    entry = read(dsn, "shards")
    assert entry is not None
    held = ShardMap.from_value(entry.version, entry.value)
    assert (held.version, held.moves[0].until) == (said["version"], moving["until"])
    show(devices=dsn)
    assert "100-199" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("zones", "sentence"),
    [
        (["east=0-99", "west=103,105-255"], "these have none: 100-102, 104"),
        (["east=0-256"], "is not [first, last] within 0..255"),
        (["east=0-200", "west=200-255"], "shard 200 belongs to east already"),
        (["east"], "'east' is not ZONE=FIRST-LAST"),
        (["east=a-b"], "is not ZONE=FIRST-LAST"),
        (["=0-255"], "is not ZONE=FIRST-LAST"),
        (["east=5-"], "is not ZONE=FIRST-LAST"),
    ],
    ids=str,
)
def test_a_map_that_leaves_a_shard_out_or_makes_no_sense_is_refused(dsn: str, zones: list[str], sentence: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        set_map(zones, devices=dsn)
    assert sentence in failed.value.sentence
    assert failed.value.status == 2
    assert read(dsn, "shards") is None


def test_a_change_that_came_in_between_is_not_overwritten(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_map(["east=0-255"], devices=dsn, as_json=True)
    version = shown(capsys)["version"]
    set_map(["east=0-9", "west=10-255"], expect=version, devices=dsn, as_json=True)
    newer = shown(capsys)["version"]
    with pytest.raises(CommandFailed, match=f"version {newer} of shards, not {version}; nothing was changed"):
        set_map(["east=0-255"], expect=version, devices=dsn)
    show(devices=dsn, as_json=True)
    assert shown(capsys)["version"] == newer


def test_addresses_of_zones_are_set_and_forgotten(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    reach("west", ["10.0.0.1:7001", "10.0.0.2:7001"], devices=dsn, as_json=True)
    assert shown(capsys)["receipts"] == {"west": ["10.0.0.1:7001", "10.0.0.2:7001"]}
    with pytest.raises(CommandFailed, match=r"zones\.east\.receipts: 'nowhere' is not host:port"):
        reach("east", ["nowhere"], devices=dsn)
    reach("west", None, devices=dsn, as_json=True)
    assert shown(capsys)["receipts"] == {}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="there is no folder"):
        show(data=tmp_path / "nowhere")
