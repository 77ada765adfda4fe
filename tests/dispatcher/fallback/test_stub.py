"""The stub vendor does what a token's text asks for."""

from pathlib import Path

import msgspec
import pytest

from dispatcher.fallback.jobs import VendorJob
from dispatcher.fallback.port import Result
from dispatcher.fallback.stub import StubChannel, delay_of
from tests.dispatcher.test_settle import NOW, delivery


def job(token: str) -> VendorJob:
    return VendorJob(envelope=delivery().envelope, device="d-1", channel="stub", token=token)


@pytest.mark.parametrize(
    ("token", "result"),
    [
        ("anything", Result.DELIVERED_TO_VENDOR),
        ("", Result.DELIVERED_TO_VENDOR),
        ("dead", Result.DELIVERED_TO_VENDOR),
        ("delay:0.001:x", Result.DELIVERED_TO_VENDOR),
        ("fail:x", Result.RETRY_AFTER),
        ("quota:x", Result.QUOTA),
        ("reject:x", Result.REJECTED),
        ("dead:x", Result.TOKEN_INVALID),
    ],
)
async def test_each_token_has_its_outcome(token: str, result: Result) -> None:
    (outcome,) = await StubChannel(lambda: NOW).send([job(token)])
    assert outcome.result is result


@pytest.mark.parametrize(
    ("token", "seconds"),
    [
        ("delay:2:x", 2.0),
        ("delay:2", 2.0),
        ("delay:x", 0.0),
        ("delay:-1:x", 0.0),
        ("delay:1e9:x", 60.0),
        ("fail:2", 0.0),
    ],
)
def test_delays(token: str, seconds: float) -> None:
    assert delay_of(token) == seconds


async def test_what_was_accepted_is_kept_and_logged_without_the_token(tmp_path: Path) -> None:
    path = tmp_path / "new" / "stub.jsonl"
    channel = StubChannel(lambda: NOW, kept=2, log=path)
    await channel.send([job("token-1"), job("reject:x"), job("token-2"), job("token-3")])
    await channel.send([job("token-4")])
    assert len(channel.accepted) == 2
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert len(lines) == 4
    assert lines[0] == {
        "at": NOW,
        "id": "1",
        "app": "courier",
        "device": "d-1",
        "tries": 0,
        "traceparent": "",
        "push": {},
    }
    assert b"token" not in path.read_bytes()
