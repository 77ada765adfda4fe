"""`taco gateway heartbeat`: what it sets, what it refuses, and that nobody's change is overwritten unseen."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ops.commands.gateway_heartbeat import reset, set_bounds, show
from ops.commands.output import CommandFailed, Exit
from push_core.adapters import open_control
from push_gateway.heartbeats import CONTROL_KEY


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'devices.sqlite'}"


@pytest.fixture
def options(dsn: str, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "taco.toml").write_text("[gateway]\nheartbeat_max_s = 500\n")
    return {"devices": dsn, "config": tmp_path / "taco.toml", "data": tmp_path, "as_json": True}


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))


def put(dsn: str, value: Any) -> None:
    async def work() -> None:
        control = await open_control(dsn)
        await control.put(CONTROL_KEY, value)
        await control.close()

    asyncio.run(work())


def test_at_first_the_settings_hold(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    show(**options)
    assert shown(capsys) == {"version": 0, "min": 60, "max": 500, "default": 240, "grace": 1.5, "burst": 5, "set": []}


def test_what_is_set_stays_until_it_is_set_again_or_reset(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    set_bounds(shortest=30, longest=300, **options)
    first = shown(capsys)
    assert (first["min"], first["max"], first["default"], first["set"]) == (30, 300, 240, ["max", "min"])
    set_bounds(longest=200, grace=2.0, expect=first["version"], **options)
    second = shown(capsys)
    assert (second["min"], second["max"], second["default"], second["grace"]) == (30, 200, 200, 2.0)
    show(**options | {"as_json": False})
    said = capsys.readouterr().out
    assert "30 s" in said
    assert "5 pings (settings)" in said
    reset(**options)
    assert shown(capsys)["set"] == []
    show(**options)
    assert shown(capsys)["max"] == 500


def test_what_makes_no_sense_is_refused(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandFailed, match="min 60 ≤ default 30 ≤ max 30 does not hold") as refused:
        set_bounds(longest=30, **options)
    assert refused.value.status is Exit.USAGE
    with pytest.raises(CommandFailed, match="name what to set"):
        set_bounds(**options)
    show(**options)
    assert shown(capsys)["version"] == 0


def test_nobody_s_change_is_overwritten_unseen(options: dict[str, Any], dsn: str) -> None:
    put(dsn, {"min": 30})
    with pytest.raises(CommandFailed, match=r"nothing was changed\. Look with `taco gateway heartbeat show`"):
        set_bounds(longest=300, expect=7, **options)


def test_what_another_tool_wrote_can_be_seen_and_mended(
    options: dict[str, Any], dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(dsn, {"min": 900})
    with pytest.raises(CommandFailed, match="which every gateway refuses"):
        show(**options)
    put(dsn, "nonsense")
    set_bounds(shortest=90, **options)
    assert shown(capsys)["min"] == 90
