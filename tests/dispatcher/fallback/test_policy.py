"""What follows from a vendor's outcome, as a table."""

import msgspec
import pytest

from dispatcher.fallback.jobs import VendorJob
from dispatcher.fallback.policy import Limits, Move, judge
from dispatcher.fallback.port import Result, VendorOutcome
from push_core.lifecycle import Reason
from push_core.models import Channels
from tests.dispatcher.test_settle import NOW, delivery

LIMITS = Limits(tries=3, retry_ms=5_000, retry_max_ms=8_000)


def job(tries: int = 0, channels: Channels = Channels.AUTO) -> VendorJob:
    envelope = msgspec.structs.replace(delivery().envelope, channels=channels)
    return VendorJob(envelope=envelope, device="d-1", channel="stub", token="secret-token", tries=tries)


@pytest.mark.parametrize(
    ("result", "tries", "channels", "another", "move", "reason", "drop"),
    [
        (Result.DELIVERED_TO_VENDOR, 0, Channels.AUTO, True, Move.SENT, None, False),
        (Result.RETRY_AFTER, 0, Channels.AUTO, True, Move.RETRY, None, False),
        (Result.RETRY_AFTER, 2, Channels.AUTO, True, Move.NEXT, None, False),
        (Result.RETRY_AFTER, 2, Channels.AUTO, False, Move.STAY, Reason.REJECTED, False),
        (Result.RETRY_AFTER, 2, Channels.VENDOR, False, Move.END, Reason.REJECTED, False),
        (Result.AUTH_EXPIRED, 0, Channels.AUTO, True, Move.RETRY, None, False),
        (Result.QUOTA, 9, Channels.AUTO, False, Move.RETRY, None, False),
        (Result.UNKNOWN, 0, Channels.AUTO, False, Move.RETRY, None, False),
        (Result.UNKNOWN, 1, Channels.AUTO, False, Move.STAY, Reason.REJECTED, False),
        (Result.TOKEN_INVALID, 0, Channels.AUTO, True, Move.NEXT, None, True),
        (Result.TOKEN_INVALID, 0, Channels.AUTO, False, Move.STAY, None, True),
        (Result.TOKEN_INVALID, 0, Channels.VENDOR, False, Move.END, Reason.NO_CHANNEL, True),
        (Result.REJECTED, 0, Channels.AUTO, True, Move.NEXT, None, False),
        (Result.REJECTED, 0, Channels.AUTO, False, Move.STAY, Reason.REJECTED, False),
        (Result.REJECTED, 0, Channels.VENDOR, False, Move.END, Reason.REJECTED, False),
        (Result.SKIPPED, 0, Channels.VENDOR, True, Move.NEXT, None, False),
    ],
)
def test_every_outcome_has_one_consequence(
    result: Result, tries: int, channels: Channels, another: bool, move: Move, reason: Reason | None, drop: bool
) -> None:
    verdict = judge(VendorOutcome(result), job(tries, channels), LIMITS, now=NOW, another=another)
    assert (verdict.move, verdict.reason, verdict.drop_token) == (move, reason, drop)


@pytest.mark.parametrize(("tries", "delay_ms"), [(0, 5_000), (1, 8_000)])
def test_the_pause_doubles_up_to_its_bound(tries: int, delay_ms: int) -> None:
    verdict = judge(VendorOutcome(Result.RETRY_AFTER), job(tries), LIMITS, now=NOW, another=False)
    assert (verdict.due, verdict.tries) == (NOW + delay_ms, tries)


def test_the_vendors_own_word_counts_more() -> None:
    verdict = judge(VendorOutcome(Result.RETRY_AFTER, delay_s=30.0), job(), LIMITS, now=NOW, another=False)
    assert verdict.due == NOW + 30_000


def test_a_quota_uses_up_no_tries() -> None:
    verdict = judge(VendorOutcome(Result.QUOTA, delay_s=1.0), job(2), LIMITS, now=NOW, another=False)
    assert verdict.tries == 1, "taking the row raises it by one"


def test_no_try_is_planned_beyond_the_messages_time() -> None:
    verdict = judge(VendorOutcome(Result.RETRY_AFTER, delay_s=60.0), job(), LIMITS, now=NOW, another=False)
    assert verdict.move is Move.STAY


def test_a_token_never_reaches_a_log() -> None:
    assert "secret-token" not in repr(job())
