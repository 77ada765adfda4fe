"""A thousand devices with all habits that devices have, and every accepted message accounted for, faults included.

The ledger is that of the callers (what was answered with 202) and of the devices (what their screens showed); the product's word is only asked
for the state of each message.
"""

import asyncio
from pathlib import Path

import pytest

from bench.taco_process import TacoProcess
from tests.e2e.conftest import Start
from tests.support.crowd import Crowd, Habit
from tests.support.terminal import create_app

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

DEVICES, MESSAGES = 1_000, 20_000
SETTLE_S = 90


@pytest.fixture(autouse=True)
async def _no_asyncio_debug() -> None:
    """It would make the crowd the slowest part: a thousand devices run in this process. The server is a process of its own."""
    asyncio.get_running_loop().set_debug(False)


def crowd_of(taco: TacoProcess, size: int = DEVICES) -> Crowd:
    return Crowd(taco, app=taco.app, key=taco.key, device_secret=taco.device_secret, size=size)


def assert_accounted_for(crowd: Crowd, states: dict[tuple[int, str], str], *, faults: bool = False) -> None:
    """Every accepted delivery is on its screen, with the vendor or in an inbox; none is left over."""
    book = crowd.book
    assert set(states) == book.expected()
    for (message_id, device), state in states.items():
        habit, on_screen = crowd.habit(device), book.screens[message_id, device]
        if state == "delivered":
            assert on_screen, (message_id, device, habit)
        elif habit.has_token:
            assert state in ("vendor", "waiting"), (message_id, device, habit, state)
        else:
            assert state == "waiting", (message_id, device, habit, state)
    by_habit = crowd.by_habit(states)
    assert set(by_habit[Habit.ONLINE]) == {"delivered"}
    assert set(by_habit[Habit.FLAKY]) == {"delivered"}
    assert set(by_habit[Habit.OFFLINE]) == {"waiting"}
    if not faults:
        assert set(by_habit[Habit.OFFLINE_WITH_TOKEN]) == {"vendor"}
    assert set(by_habit[Habit.SILENT]) == {"waiting"}
    assert not book.shown_twice()
    assert not book.shown_astray()
    assert not book.unexplained


async def assert_all_shown_in_the_end(crowd: Crowd) -> None:
    """Once all come online and ack, what waited comes to each screen, once, and every delivery has ended as delivered."""
    await crowd.everybody_acks()
    await crowd.shown_everywhere(SETTLE_S)
    states = await crowd.settled(SETTLE_S, faults=True)
    async with asyncio.timeout(SETTLE_S):
        while set(states.values()) != {"delivered"}:
            await asyncio.sleep(0.5)
            states = await crowd.settled(SETTLE_S, faults=True)
    assert not crowd.book.shown_twice()
    assert not crowd.book.shown_astray()


async def test_every_accepted_message_is_delivered_or_with_the_vendor_or_in_an_inbox(start: Start) -> None:
    taco = await start()
    crowd = crowd_of(taco)
    await crowd.register()
    await crowd.come_online()
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.push(MESSAGES))
        group.create_task(crowd.be_flaky())
    assert len(crowd.book.accepted) == MESSAGES
    assert_accounted_for(crowd, await crowd.settled(SETTLE_S))
    await assert_all_shown_in_the_end(crowd)
    await crowd.close()
    assert await taco.stop() == 0


async def test_nothing_is_lost_or_shown_twice_when_everything_is_killed_in_the_middle(start: Start) -> None:
    taco = await start()
    crowd = crowd_of(taco)
    await crowd.register()
    await crowd.come_online()

    async def kill_and_start_again() -> None:
        nonlocal taco
        while len(crowd.book.accepted) < MESSAGES // 2:
            await asyncio.sleep(0.01)
        await taco.kill()
        taco = await start()
        await crowd.move(taco)
        await crowd.come_online()

    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.push(MESSAGES))
        group.create_task(kill_and_start_again())
    assert len(crowd.book.accepted) == MESSAGES
    assert_accounted_for(crowd, await crowd.settled(SETTLE_S, faults=True), faults=True)
    await assert_all_shown_in_the_end(crowd)
    await crowd.close()
    assert await taco.stop() == 0


async def test_two_apps_with_equal_device_names_never_see_each_others_messages(start: Start, tmp_path: Path) -> None:
    taco = await start()
    other = await create_app(tmp_path / "data", "courier")
    mine = crowd_of(taco, size=40)
    theirs = Crowd(taco, app="courier", key=other["key"], device_secret=other["device_secret"], size=40)
    for crowd in (mine, theirs):
        await crowd.register()
        await crowd.come_online()
    async with asyncio.TaskGroup() as group:
        group.create_task(mine.push(600))
        group.create_task(theirs.push(600))
    for crowd in (mine, theirs):
        assert_accounted_for(crowd, await crowd.settled(SETTLE_S))
        await assert_all_shown_in_the_end(crowd)
    assert not set(mine.book.accepted) & set(theirs.book.accepted)
    for crowd in (mine, theirs):
        await crowd.close()
