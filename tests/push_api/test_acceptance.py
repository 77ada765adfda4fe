import asyncio
from typing import Any

import pytest

from push_api.acceptance import Acceptance
from push_api.decoding import convert
from push_api.drafts import Draft
from push_api.issuing import Issuing
from push_api.models import Message
from push_api.publisher import Publisher
from push_api.validation import draft_of
from push_core.clock import Clock
from push_core.envelope import decode_batch
from push_core.errors import DeadlineExceeded, Overloaded, Unavailable, UserError
from push_core.ids import NotIssuing, shard_of, time_of
from push_core.messages.port import Commit
from push_core.metrics.memory import MemoryMetrics
from push_core.models import App
from push_core.shards import shard_for_key
from tests.push_api.fakes import FakeMessages, FakeQueues, FakeTrail, away
from tests.push_api.refusals import good
from tests.support.hand_clock import HandClock

APP = App(name="demo")


def draft(number: int = 0, **changes: Any) -> Draft:
    return draft_of(convert(good(title=f"Order {number}", **changes), Message))


class Setup:
    def __init__(self, *, bound: int = 1_000, publish_bound: int = 1_000, timeout_s: float = 5.0) -> None:
        self.messages = FakeMessages()
        self.queues = FakeQueues()
        self.trail = FakeTrail()
        self.hand = HandClock()
        clock = Clock(wall_ms=Clock().wall_ms, monotonic=self.hand.monotonic)
        self.shards: list[int] = [5, 6]
        metrics = MemoryMetrics()
        self.issuing = Issuing(
            self.messages,  # type: ignore[arg-type]
            clock,
            ttl_s=15.0,
            renew_s=5.0,
            timeout_s=5.0,
            step_back_ms=2_000,
        )
        self.publisher = Publisher(
            self.queues,  # type: ignore[arg-type]
            self.messages,  # type: ignore[arg-type]
            metrics,
            clock,
            bound=publish_bound,
            parallel=1,
            timeout_s=5.0,
        )
        self.acceptance = Acceptance(
            self.messages,  # type: ignore[arg-type]
            self.issuing,
            self.publisher,
            self.trail,  # type: ignore[arg-type]
            metrics,
            clock,
            shards=lambda: self.shards,
            largest=500,
            parallel=1,
            bound=bound,
            timeout_s=timeout_s,
            collision_tries=3,
        )

    async def accept(self, *drafts: Draft, app: App = APP) -> list[Any]:
        return list(await self.acceptance.accept(app, drafts, "trace"))

    async def published(self) -> list[int]:
        await self.publisher.close(5.0)
        return [item.id for parcel in self.queues.published for item in decode_batch(parcel.body)]


@pytest.fixture
async def setup() -> Setup:
    made = Setup()
    await made.issuing.take()
    return made


async def test_accepted_messages_are_committed_then_published(setup: Setup) -> None:
    ids = await setup.accept(draft(1), draft(2))
    assert list(setup.messages.committed) == ids
    assert await setup.published() == ids
    assert all(shard_of(made) in (5, 6) for made in ids)


async def test_the_trail_hears_of_each_message_once(setup: Setup) -> None:
    [made] = await setup.accept(draft(target={"devices": ["a", "b"]}))
    [event] = setup.trail.events
    assert (event.id, event.app, event.device, event.step, event.traceparent) == (made, "demo", "", "accepted", "trace")


async def test_requests_that_arrive_together_are_committed_together(setup: Setup) -> None:
    answers = await asyncio.gather(*(setup.accept(draft(n), draft(n)) for n in range(50)))
    assert [len(batch) for batch in setup.messages.batches] == [100]
    assert len({made for ids in answers for made in ids}) == 100
    for n, ids in enumerate(answers):
        for made in ids:
            assert b"Order %d" % n in setup.messages.committed[made].envelope.push


async def test_a_commit_has_at_most_500_messages_and_no_request_is_split(setup: Setup) -> None:
    await asyncio.gather(*(setup.accept(*(draft() for _ in range(200))) for _ in range(4)))
    assert [len(batch) for batch in setup.messages.batches] == [400, 400]


async def test_when_the_commit_fails_all_of_it_is_refused_and_nothing_published(setup: Setup) -> None:
    setup.messages.answers.append(away())
    results = await asyncio.gather(setup.accept(draft()), setup.accept(draft()), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert await setup.published() == []
    assert setup.trail.events == []


async def test_a_store_that_hangs_leaves_the_outcome_unknown() -> None:
    setup = Setup(timeout_s=0.01)
    await setup.issuing.take()

    async def hang() -> None:
        await asyncio.Event().wait()

    setup.messages.answers.append(hang)
    with pytest.raises(DeadlineExceeded):
        await setup.accept(draft())
    assert await setup.accept(draft())


async def test_an_id_that_is_taken_is_replaced(setup: Setup) -> None:
    setup.messages.answers.append([Commit.DONE, Commit.COLLISION, Commit.DONE])
    ids = await setup.accept(draft(0), draft(1), draft(2))
    first, second = setup.messages.batches
    assert [item.envelope.id for item in first][1] != ids[1]
    assert [item.envelope.id for item in second] == [ids[1]]
    assert b'"id":"%d"' % ids[1] in second[0].envelope.push
    assert b"Order 1" in second[0].envelope.push
    assert sorted(await setup.published()) == sorted(ids)


async def test_ids_that_are_all_taken_end_in_a_refusal_of_those_alone(setup: Setup) -> None:
    setup.messages.answers.append([Commit.DONE, Commit.COLLISION])
    setup.messages.answers.extend([[Commit.COLLISION]] * 3)
    kept, lost = await setup.accept(draft(0), draft(1))
    assert isinstance(lost, Unavailable)
    assert await setup.published() == [kept]


async def test_when_the_second_try_fails_the_first_ones_stay_accepted(setup: Setup) -> None:
    setup.messages.answers.extend([[Commit.DONE, Commit.COLLISION], away()])
    kept, lost = await setup.accept(draft(0), draft(1))
    assert isinstance(lost, Unavailable)
    assert await setup.published() == [kept]


async def test_a_replay_is_answered_and_not_published(setup: Setup) -> None:
    setup.messages.answers.append([Commit.REPLAY, Commit.DONE])
    replayed, new = await setup.accept(draft(idempotency_key="k"), draft())
    assert isinstance(replayed, int)
    assert await setup.published() == [new]
    assert [event.id for event in setup.trail.events] == [new]


async def test_a_conflict_is_the_callers_own(setup: Setup) -> None:
    setup.messages.answers.append([Commit.CONFLICT, Commit.DONE])
    conflict, new = await setup.accept(draft(idempotency_key="k"), draft())
    assert isinstance(conflict, UserError)
    assert conflict.code == "idempotency_conflict"
    assert await setup.published() == [new]


async def test_a_key_has_its_shard_whatever_the_id(setup: Setup) -> None:
    setup.messages.answers.append([Commit.COLLISION])
    [made] = await setup.accept(draft(idempotency_key="k"))
    assert shard_of(made) == shard_for_key("demo", "k", [5, 6])


async def test_a_caller_that_goes_away_leaves_its_message_committed_once(setup: Setup) -> None:
    gate = asyncio.Event()
    setup.messages.answers.append(gate.wait)  # type: ignore[arg-type]
    caller = asyncio.create_task(setup.accept(draft(7)))
    while not setup.messages.batches:
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.set()
    await setup.acceptance.close()
    assert len(setup.messages.batches) == 1
    assert await setup.published() == list(setup.messages.committed)
    assert len(setup.messages.committed) == 1


async def test_a_caller_that_goes_away_takes_nobody_with_it(setup: Setup) -> None:
    leaving, staying = asyncio.create_task(setup.accept(draft(1))), asyncio.create_task(setup.accept(draft(2)))
    await asyncio.sleep(0)
    leaving.cancel()
    [made] = await staying
    assert made in setup.messages.committed
    assert len(setup.messages.committed) == 2


async def test_without_a_lease_nothing_is_accepted_and_with_a_new_one_again(setup: Setup) -> None:
    setup.hand.advance(15.0)
    with pytest.raises(NotIssuing):
        await setup.accept(draft())
    assert setup.messages.batches == []
    await setup.issuing.take()
    assert await setup.accept(draft())


async def test_ids_are_made_at_the_commit_not_before(setup: Setup) -> None:
    gate = asyncio.Event()
    setup.messages.answers.append(gate.wait)  # type: ignore[arg-type]
    first = asyncio.create_task(setup.accept(draft(1)))
    while not setup.messages.batches:
        await asyncio.sleep(0)
    second = asyncio.create_task(setup.accept(draft(2)))
    await asyncio.sleep(0.003)
    gate.set()
    [one], [two] = await asyncio.gather(first, second)
    assert time_of(two) >= time_of(one) + 3


async def test_more_than_the_bound_is_refused_before_it_is_committed() -> None:
    setup = Setup(bound=3)
    await setup.issuing.take()
    results = await asyncio.gather(
        setup.accept(draft(), draft()), setup.accept(draft(), draft()), return_exceptions=True
    )
    assert isinstance(results[1], Overloaded)
    assert [len(batch) for batch in setup.messages.batches] == [2]


async def test_a_queue_that_is_behind_stops_accepting_before_the_commit() -> None:
    setup = Setup(publish_bound=3)
    await setup.issuing.take()
    gate = asyncio.Event()
    setup.queues.answers.append(gate)
    await setup.accept(draft(), draft())
    with pytest.raises(Overloaded):
        await setup.accept(draft(), draft())
    await setup.accept(draft())
    with pytest.raises(Overloaded):
        await setup.accept(draft())
    gate.set()
    assert len(await setup.published()) == 3
    assert await setup.accept(draft())


async def test_what_waits_for_the_commit_counts_for_the_queues_bound() -> None:
    setup = Setup(publish_bound=3)
    await setup.issuing.take()
    results = await asyncio.gather(*(setup.accept(draft(), draft()) for _ in range(3)), return_exceptions=True)
    assert [isinstance(result, Overloaded) for result in results] == [False, True, True]


async def test_after_closing_nothing_is_taken(setup: Setup) -> None:
    await setup.acceptance.close()
    with pytest.raises(Unavailable):
        await setup.accept(draft())
