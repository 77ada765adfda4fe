"""What threads do."""

import threading

import pytest

from ops.admin.stacks import stacks_page
from ops.admin.watchdog import Hold, Watchdog


async def test_every_thread_is_shown_with_its_name() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="a-driver")
    thread.start()
    answer = await stacks_page(None)({})
    stacks = {thread["name"]: thread["stack"] for thread in answer["threads"]}
    assert any("threading.py" in line for line in stacks["a-driver"])
    assert "samples" not in answer
    release.set()
    thread.join()


async def test_what_held_the_loop_before_is_remembered() -> None:
    watchdog = Watchdog(held_s=0.1, every_s=1.0)
    watchdog.holds.append(Hold(1.0, 0.2, 0.19, ("push_api/slow.py:1 in slow",)))
    answer = await stacks_page(watchdog)({})
    assert answer["holds"][0]["stack"] == ("push_api/slow.py:1 in slow",)


async def test_a_sampling_shows_where_threads_spend_their_time() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="a-driver")
    thread.start()
    answer = await stacks_page(None)({"seconds": "1"})
    driver = [sample for sample in answer["samples"] if sample["thread"] == "a-driver"]
    assert driver[0]["share"] > 0.5
    assert any(sample["thread"] == "event loop" for sample in answer["samples"])
    release.set()
    thread.join()


async def test_a_sampling_has_a_bound() -> None:
    with pytest.raises(ValueError, match="seconds must be a whole number from 1 to 30"):
        await stacks_page(None)({"seconds": "31"})
