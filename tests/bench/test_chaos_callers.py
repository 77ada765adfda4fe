"""Callers of drills: each push is repeated with its key until it is answered, and counts once."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.chaos_callers import Callers, Log
from bench.lean_http import HttpFailed

Answer = tuple[int, bytes]


class Api:
    """Accepts by key, after so many refusals of each kind that a test hands in."""

    def __init__(self, *refusals: Callable[[], Answer]) -> None:
        self.refusals = list(refusals)
        self.asked: list[list[dict[str, Any]]] = []
        self.ids: dict[str, int] = {}

    async def request(self, method: str, path: str, body: bytes) -> Answer:
        messages = json.loads(body)["messages"]
        self.asked.append(messages)
        if self.refusals:
            return self.refusals.pop(0)()
        return accepted(*(self.id_of(message) for message in messages))

    def id_of(self, message: dict[str, Any]) -> int:
        return self.ids.setdefault(message["idempotency_key"], len(self.ids) + 1)


def accepted(*ids: int) -> Answer:
    return 202, json.dumps({"results": [{"id": str(each)} for each in ids]}).encode()


def gone() -> Answer:
    raise HttpFailed("gone") from ConnectionResetError()


async def offered(api: Api, count: int = 1, *, rate: float = 0.01, batch: int = 1, patience_s: float = 60.0) -> Log:
    """At the default rate there is no second call."""
    log = Log()
    callers = Callers(api, log, ["d-1"], rate=rate, batch=batch, patience_s=patience_s)  # type: ignore[arg-type]
    callers.start()
    while len(log.samples) < count:
        await asyncio.sleep(0.005)
    callers.stop()
    while callers.waiting:
        await asyncio.sleep(0.005)
    await callers.close()
    return log


async def test_every_push_has_a_key_of_its_own_and_is_accepted_once() -> None:
    api = Api()
    log = await offered(api, 20, rate=1_000)
    keys = [message["idempotency_key"] for messages in api.asked for message in messages]
    assert len(set(keys)) == len(keys) == len(log.samples)
    assert all(sample.id is not None and sample.accepted is not None for sample in log.samples)
    assert not log.refused


async def test_a_call_without_an_answer_is_repeated_with_the_same_key() -> None:
    api = Api(gone, lambda: (503, b"{}"))
    log = await offered(api)
    (sample,) = log.samples
    assert [messages[0]["idempotency_key"] for messages in api.asked] == [sample.key] * 3
    assert log.repeats == {"ConnectionResetError": 1, "http 503": 1}
    assert sample.id is not None


async def test_of_a_batch_only_what_was_refused_for_now_is_repeated() -> None:
    refused = {"error": {"code": "overloaded", "retry": True}}
    wrong = {"error": {"code": "invalid", "retry": False}}
    api = Api(lambda: (202, json.dumps({"results": [{"id": "7"}, refused, wrong]}).encode()))
    log = await offered(api, 3, batch=3)
    assert [len(messages) for messages in api.asked] == [3, 1]
    assert log.refused == {"invalid": 1}
    assert log.repeats == {"overloaded": 1}
    assert log.samples[0].id == 7
    assert log.samples[1].id is not None
    assert log.samples[2].id is None


@pytest.mark.parametrize("status", [401, 422])
async def test_what_no_repeat_can_help_is_given_up_at_once(status: int) -> None:
    api = Api(lambda: (status, b"{}"))
    log = await offered(api)
    assert log.refused == {f"http {status}": 1}
    assert not log.repeats


async def test_who_gets_no_yes_in_time_gives_up_and_says_why() -> None:
    class Closed(Api):
        async def request(self, method: str, path: str, body: bytes) -> Answer:
            return 503, b"{}"

    log = await offered(Closed(), patience_s=0.05)
    assert log.refused == {"http 503": 1}
