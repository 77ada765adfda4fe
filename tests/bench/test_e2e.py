"""The figures of an end-to-end run are made from what callers and devices saw, and a broken promise fails it."""

from typing import Any

import pytest

from bench.e2e import failed, result
from bench.load import Log
from bench.machine import CpuMeter
from bench.stored import StoredWatch
from sdk_proto.wire.frames import Push


def figures(log: Log, states: dict[int, str | None], *, late_s: float = 0.001) -> dict[str, Any]:
    stored = StoredWatch(None, log.due.__len__)  # type: ignore[arg-type] # asks nobody here
    stored.stored = {message_id: due + 0.2 for message_id, due in log.due.items()}
    return result(log, stored, late_s * 1e3, CpuMeter({}), states, begin=0.0, end=2.0)


def good() -> tuple[Log, dict[int, str | None]]:
    log = Log(offered=4)
    for message_id in range(1, 5):
        log.due[message_id] = 0.0
        log.target[message_id] = "d"
        log.note(Push(id=message_id), True, message_id * 0.1)
    return log, dict.fromkeys(log.due, "delivered")


def test_a_run_in_which_all_is_well() -> None:
    found = figures(*good())
    assert not failed(found)
    assert (found["acked_per_s"], found["p50_ms"], found["p99_ms"], found["stored_p99_ms"]) == (
        2.0,
        200.0,
        400.0,
        200.0,
    )
    assert (found["lost"], found["wire_duplicates"], found["screen_duplicates"], found["remainder"]) == (0, 0, 0, 0)


def test_what_comes_after_the_window_does_not_count_for_the_rate() -> None:
    log, states = good()
    log.received[4] = 2.5
    assert figures(log, states)["acked_per_s"] == 1.5


def test_an_accepted_push_that_no_device_saw_is_lost_whatever_the_product_says() -> None:
    log, states = good()
    del log.received[3]
    found = figures(log, states)
    assert (found["lost"], found["remainder"]) == (1, 1)
    assert failed(found)


def test_an_ack_that_the_store_does_not_have_is_left_over() -> None:
    log, states = good()
    found = figures(log, states | {2: "accepted"})
    assert (found["lost"], found["remainder"]) == (0, 1)
    assert failed(found)


@pytest.mark.parametrize(("is_new", "name"), [(False, "wire_duplicates"), (True, "screen_duplicates")])
def test_a_push_that_comes_twice_is_counted(is_new: bool, name: str) -> None:
    log, states = good()
    log.note(Push(id=1), is_new, 0.5)
    found = figures(log, states)
    assert found[name] == 1
    assert failed(found)


def test_a_client_that_was_late_itself_voids_the_run() -> None:
    assert failed(figures(*good(), late_s=0.03))
