"""What operators say of topics and broadcasts, in control."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ops.apps import new_app
from ops.commands.app import topics
from ops.commands.gateway import broadcast_rate
from ops.commands.output import CommandFailed
from push_core.adapters import open_control, open_devices
from push_core.topics import MAX_PATTERNS, control_key
from push_gateway.broadcasts import RATE_KEY


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    dsn = f"sqlite:///{tmp_path / 'devices.sqlite'}"

    async def make() -> None:
        devices = await open_devices(dsn)
        await devices.put_apps([new_app("courier", now=1)[0]])
        await devices.close()

    asyncio.run(make())
    return dsn


def held(dsn: str, key: str) -> Any:
    async def look() -> Any:
        control = await open_control(dsn)
        try:
            (entry,) = await control.get([key])
        finally:
            await control.close()
        return entry.value if entry is not None else "never written"

    return asyncio.run(look())


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))


def test_the_rules_of_an_app_are_set_shown_and_cleared(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    topics("courier", ["news", "city-*", "news"], devices=dsn, as_json=True)
    assert held(dsn, control_key("courier")) == ["news", "city-*"]
    topics("courier", devices=dsn, as_json=True)
    assert shown(capsys) == {"app": "courier", "topics": ["news", "city-*"]}
    topics("courier", clear=True, devices=dsn, as_json=True)
    assert shown(capsys) == {"app": "courier", "topics": []}
    assert held(dsn, control_key("courier")) is None


@pytest.mark.parametrize("patterns", [["c*ty"], [""], ["a b"], [f"t-{n}" for n in range(MAX_PATTERNS + 1)]])
def test_what_is_no_pattern_is_refused(dsn: str, patterns: list[str]) -> None:
    with pytest.raises(CommandFailed, match="at most"):
        topics("courier", patterns, devices=dsn)
    assert held(dsn, control_key("courier")) == "never written"


def test_an_app_that_there_is_not_has_no_rules(dsn: str) -> None:
    with pytest.raises(CommandFailed, match="no app taxi"):
        topics("taxi", ["*"], devices=dsn)


def test_the_rate_of_broadcasts_is_set_shown_and_left_to_the_gateways_again(
    dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broadcast_rate(devices=dsn, as_json=True)
    assert shown(capsys) == {"rate": None}
    broadcast_rate(50_000, devices=dsn, as_json=True)
    assert (shown(capsys), held(dsn, RATE_KEY)) == ({"rate": 50_000}, 50_000)
    broadcast_rate(reset=True, devices=dsn, as_json=True)
    assert (shown(capsys), held(dsn, RATE_KEY)) == ({"rate": None}, None)
    with pytest.raises(CommandFailed, match="stands alone"):
        broadcast_rate(1.0, reset=True, devices=dsn)
