from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from push_api.acceptance import Outcome
from push_api.decoding import decode_message
from push_api.drafts import Draft
from push_api.models import Message, Target
from push_api.service import PushService
from push_core.errors import Overloaded, TacoError, Unavailable, UserError
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.models import App

APP = App(name="demo")
GOOD = Message(target=Target(device="d"), title="x")
BAD = Message(target=Target(device="d"))
NOT_EVEN = UserError("no", code="unknown_field", field="messages[0].x")


class Accepting:
    """Answers each draft with the next outcome; an exception is raised."""

    def __init__(self, *outcomes: Outcome, error: TacoError | None = None) -> None:
        self.outcomes = list(outcomes)
        self.error = error
        self.drafts: list[Draft] = []

    async def accept(self, app: App, drafts: Sequence[Draft], traceparent: str) -> list[Outcome]:
        if self.error:
            raise self.error
        self.drafts.extend(drafts)
        return [self.outcomes.pop(0) for _ in drafts]


class OpenDoor:
    """Lets everything in but the drafts that it was given a refusal for, by their place."""

    def __init__(self, *turned_away: Overloaded | UserError | None) -> None:
        self._turned_away = turned_away

    async def messages(self, app: App, drafts: Sequence[Draft]) -> list[Any] | None:
        for refusal in self._turned_away:
            if isinstance(refusal, UserError):
                raise refusal
        return list(self._turned_away) or None


def service(accepting: Accepting, metrics: MemoryMetrics | None = None, turned_away: Sequence[Any] = ()) -> PushService:
    unused: Any = None
    return PushService(
        auth=unused,
        admission=OpenDoor(*turned_away),  # type: ignore[arg-type]
        acceptance=accepting,  # type: ignore[arg-type]
        tracking=unused,
        devices=unused,
        readiness=unused,
        metrics=metrics or MemoryMetrics(),
    )


async def send_batch(accepting: Accepting, *messages: Message | UserError, metrics: MemoryMetrics | None = None) -> Any:
    return await service(accepting, metrics).send_batch(APP, lambda: messages, traceparent="")


async def test_outcomes_stand_where_their_messages_stood() -> None:
    accepting = Accepting(1, 2)
    first, second, third, fourth = await send_batch(accepting, NOT_EVEN, GOOD, BAD, GOOD)
    assert (first, second, fourth) == (NOT_EVEN, 1, 2)
    assert third.field == "messages[2].title"
    assert len(accepting.drafts) == 2


async def test_a_conflict_is_named_from_the_batch() -> None:
    conflict = UserError("used", code="idempotency_conflict", field="idempotency_key")
    _, error = await send_batch(Accepting(1, conflict), GOOD, GOOD)
    assert error.field == "messages[1].idempotency_key"


async def test_a_batch_without_a_good_message_asks_nobody() -> None:
    accepting = Accepting(error=Unavailable("away"))
    assert len(await send_batch(accepting, BAD, NOT_EVEN)) == 2


async def test_when_some_were_accepted_the_others_have_their_errors() -> None:
    first, second = await send_batch(Accepting(1, Unavailable("no free id")), GOOD, GOOD)
    assert first == 1
    assert isinstance(second, Unavailable)


async def test_when_none_was_accepted_by_our_fault_all_of_it_is_to_be_repeated() -> None:
    with pytest.raises(Unavailable):
        await send_batch(Accepting(Unavailable("no free id")), BAD, GOOD)
    with pytest.raises(Unavailable):
        await send_batch(Accepting(error=Unavailable("away")), BAD, GOOD)


async def test_what_was_accepted_and_refused_is_counted() -> None:
    metrics = MemoryMetrics()
    await send_batch(Accepting(1, 2), GOOD, GOOD, BAD, metrics=metrics)
    with pytest.raises(UserError):
        await service(Accepting(), metrics).send(APP, partial(decode_message, b"{"), key=None, traceparent="")
    with pytest.raises(Unavailable):
        await service(Accepting(Unavailable("no")), metrics).send(APP, lambda: GOOD, key=None, traceparent="")
    assert metrics.counted(Metric.API_ACCEPTED, app="demo") == 2
    assert metrics.counted(Metric.API_REFUSED, code="missing_field") == 1
    assert metrics.counted(Metric.API_REFUSED, code="bad_json") == 1
    assert metrics.counted(Metric.API_REFUSED, code="unavailable") == 1


async def test_who_is_turned_away_for_load_has_that_answer_in_its_place_and_the_others_go_in() -> None:
    accepting = Accepting(1, 2)
    busy = Overloaded("busy")
    door = service(accepting, turned_away=[None, busy, None])
    first, bad, second, third = await door.send_batch(APP, lambda: (GOOD, BAD, GOOD, GOOD), traceparent="")
    assert (first, second, third) == (1, busy, 2)
    assert isinstance(bad, UserError)
    assert len(accepting.drafts) == 2


async def test_a_batch_that_is_turned_away_as_a_whole_is_to_be_repeated() -> None:
    with pytest.raises(Overloaded):
        await service(Accepting(), turned_away=[Overloaded("busy")]).send_batch(
            APP, lambda: (GOOD, BAD), traceparent=""
        )
    with pytest.raises(Overloaded):
        await service(Accepting(), turned_away=[Overloaded("busy")]).send(APP, lambda: GOOD, key=None, traceparent="")


async def test_an_app_over_its_rate_gets_nothing_in_and_is_counted() -> None:
    metrics, over = MemoryMetrics(), UserError("too fast", code="rate_limited", retry_after_s=3.0)
    with pytest.raises(UserError):
        await service(Accepting(), metrics, [over]).send_batch(APP, lambda: (GOOD, GOOD), traceparent="")
    assert metrics.counted(Metric.API_REFUSED, code="rate_limited") == 1
