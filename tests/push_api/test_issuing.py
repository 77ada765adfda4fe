import asyncio

import pytest

from push_api.issuing import Issuing
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.ids import SEQUENCES, NotIssuing, issuer_of, shard_of, time_of
from tests.push_api.fakes import FakeMessages, away
from tests.support.hand_clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store() -> FakeMessages:
    return FakeMessages()


@pytest.fixture
def issuing(store: FakeMessages, clock: HandClock) -> Issuing:
    return Issuing(
        store,  # type: ignore[arg-type]
        clock.clock(),
        ttl_s=15.0,
        renew_s=5.0,
        timeout_s=5.0,
        step_back_ms=2_000,
    )


def held(issuing: Issuing) -> bool:
    return issuing.held


async def test_no_id_is_made_without_a_lease(issuing: Issuing, clock: HandClock) -> None:
    assert not held(issuing)
    with pytest.raises(NotIssuing):
        issuing.try_make([1], clock.wall)


async def test_an_id_has_the_time_a_shard_of_ours_and_the_leased_number(issuing: Issuing, clock: HandClock) -> None:
    await issuing.take()
    made = issuing.try_make([3, 4], clock.wall)
    assert made is not None
    assert (time_of(made), issuer_of(made)) == (clock.wall, 0)
    assert shard_of(made) in (3, 4)


async def test_a_zone_without_shards_makes_none(issuing: Issuing, clock: HandClock) -> None:
    await issuing.take()
    with pytest.raises(NotIssuing, match="owns no shard"):
        issuing.try_make([], clock.wall)


async def test_the_lease_counts_from_before_it_was_asked_for(
    issuing: Issuing, store: FakeMessages, clock: HandClock
) -> None:
    lease = store.lease_issuer

    async def slow(*args: object, **options: object) -> object:
        clock.advance(4.0)
        return await lease(*args, **options)  # type: ignore[arg-type]

    store.lease_issuer = slow  # type: ignore[assignment]
    await issuing.take()
    clock.advance(10.9)
    assert held(issuing)
    clock.advance(0.1)
    assert not held(issuing)
    with pytest.raises(NotIssuing):
        issuing.try_make([1], clock.wall)


async def test_renewing_prolongs_it_and_tells_the_newest_millisecond(
    issuing: Issuing, store: FakeMessages, clock: HandClock
) -> None:
    await issuing.take()
    clock.advance(10.0)
    assert await issuing.renew()
    clock.advance(14.9)
    assert held(issuing)


async def test_a_lease_that_another_took_is_lost_at_once(issuing: Issuing, store: FakeMessages) -> None:
    await issuing.take()
    store.lease_taken_by_another = True
    assert not await issuing.renew()
    assert not held(issuing)


async def test_a_lost_lease_is_followed_by_a_new_one(issuing: Issuing, store: FakeMessages) -> None:
    await issuing.take()
    store.lease_taken_by_another = True
    keeping = asyncio.create_task(issuing.keep())
    while len(store.leases) < 2:
        await asyncio.sleep(0)
    assert held(issuing)
    keeping.cancel()


async def test_while_the_store_is_away_the_lease_holds_until_its_end(
    issuing: Issuing, store: FakeMessages, clock: HandClock
) -> None:
    await issuing.take()
    store.lease_error = away()
    with pytest.raises(Unavailable):
        await issuing.renew()
    assert held(issuing)
    clock.advance(15.0)
    assert not held(issuing)
    keeping = asyncio.create_task(issuing.keep())
    await asyncio.sleep(0)
    store.lease_error = None
    while not issuing.held:
        await asyncio.sleep(0)
    assert [lease.issuer for lease in store.leases] == [0, 1]
    keeping.cancel()


async def test_a_store_that_hangs_is_given_up(store: FakeMessages, clock: HandClock) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    store.lease_issuer = hang  # type: ignore[assignment]
    issuing = Issuing(store, clock.clock(), ttl_s=15.0, renew_s=5.0, timeout_s=0.01, step_back_ms=0)  # type: ignore[arg-type]
    with pytest.raises(DeadlineExceeded):
        await issuing.take()


async def test_a_used_up_millisecond_is_waited_out(issuing: Issuing, clock: HandClock) -> None:
    await issuing.take()
    for _ in range(SEQUENCES):
        assert issuing.try_make([1], clock.wall) is not None
    assert issuing.try_make([1], clock.wall) is None
    waiting = asyncio.create_task(issuing.make([1]))
    await asyncio.sleep(0)
    clock.advance(0.001)
    made = await waiting
    assert time_of(made) == clock.wall


async def test_with_several_shards_another_one_helps(issuing: Issuing, clock: HandClock) -> None:
    await issuing.take()
    made = {issuing.try_make(range(256), clock.wall) for _ in range(1_000)}
    assert None not in made
    assert len(made) == 1_000


async def test_a_clock_that_stepped_far_back_makes_no_ids(issuing: Issuing, clock: HandClock) -> None:
    await issuing.take()
    issuing.try_make([1], clock.wall)
    clock.wall -= 2_001
    with pytest.raises(NotIssuing):
        issuing.try_make([1], clock.wall)


async def test_ids_start_above_the_earlier_holders_mark(
    issuing: Issuing, store: FakeMessages, clock: HandClock
) -> None:
    store.high_water_ms = clock.wall + 1
    await issuing.take()
    assert issuing.try_make([1], clock.wall) is None
    assert issuing.try_make([1], clock.wall + 1) is None
    assert issuing.try_make([1], clock.wall + 2) is not None


async def test_the_number_is_given_back_with_its_mark(issuing: Issuing, store: FakeMessages, clock: HandClock) -> None:
    await issuing.take()
    issuing.try_make([1], clock.wall)
    await issuing.release()
    assert store.released == [(0, clock.wall)]
    assert not held(issuing)
    await issuing.release()
    assert len(store.released) == 1


async def test_a_number_that_cannot_be_given_back_runs_out(issuing: Issuing, store: FakeMessages) -> None:
    await issuing.take()
    store.lease_error = away()
    await issuing.release()
    assert not held(issuing)
