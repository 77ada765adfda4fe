"""What tasks wait for."""

import asyncio

import pytest

from ops.admin.tasks import born, tasks_page


async def waits(event: asyncio.Event) -> None:
    await event.wait()


async def test_tasks_that_wait_at_one_place_are_one_group() -> None:
    event = asyncio.Event()
    tasks = [asyncio.create_task(waits(event), name=f"worker-{number}") for number in range(250)]
    other = asyncio.create_task(waits(event))
    await asyncio.sleep(0)
    answer = await tasks_page({})
    groups = {group["name"]: group for group in answer["groups"]}
    assert answer["tasks"] >= 251
    assert groups["worker-N"]["count"] == 250
    assert set(groups["worker-N"]["examples"]) <= {task.get_name() for task in tasks}
    assert groups["waits"]["count"] == 1  # a task without a name has its coroutine's
    assert groups["waits"]["stack"][-1].startswith("asyncio/locks.py")
    assert groups["waits"]["oldest_s"] is None  # nobody noted when it was made
    event.set()
    await asyncio.gather(other, *tasks)


async def test_ages_are_known_of_tasks_that_the_factory_made() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(born)
    event = asyncio.Event()
    task = asyncio.create_task(waits(event), name="aged")
    await asyncio.sleep(0)
    (group,) = (await tasks_page({"name": "aged"}))["groups"]
    assert group["oldest_s"] >= 0.0
    event.set()
    await task
    loop.set_task_factory(None)


async def test_at_most_as_many_groups_as_asked_for() -> None:
    event = asyncio.Event()
    names = ["one", "two", "three"]
    tasks = [asyncio.create_task(waits(event), name=name) for name in names]
    await asyncio.sleep(0)
    answer = await tasks_page({"limit": "1"})
    assert len(answer["groups"]) == 1
    assert answer["groups_left_out"] >= 2
    with pytest.raises(ValueError, match="limit must be a whole number"):
        await tasks_page({"limit": "0"})
    event.set()
    await asyncio.gather(*tasks)
