"""What a fault did, from logs that tests write by hand."""

import pytest

from bench.chaos_callers import Log, Sample
from bench.chaos_figures import Figures, Window, figures, recovered_s

RATE = 100


def run(late_s: dict[int, float] | None = None, *, seconds: int = 30, lost: frozenset[int] = frozenset()) -> Log:
    """RATE pushes a second, each received after 10 ms; `late_s` by the second in which they were due."""
    log = Log()
    for number in range(seconds * RATE):
        due = number / RATE
        log.samples.append(Sample(due, f"d-{number % 10}", f"{number}", number + 1, due))
        if number + 1 in lost:
            continue
        log.received[number + 1] = due + (late_s or {}).get(int(due), 0.01)
        log.frames[number + 1] = log.shown[number + 1] = 1
    return log


def of(log: Log, begin: float = 5.0, end: float = 10.0, others: frozenset[str] = frozenset({"d-1"})) -> Figures:
    return figures("test", log, Window(begin, end, 30.0), others=others)


def test_a_run_in_which_nothing_happened_kept_every_promise() -> None:
    done = of(run())
    assert (done.accepted, done.lost, done.wire_duplicates, done.screen_duplicates) == (3_000, 0, 0, 0)
    assert done.recovered_s == 0.0
    assert done.others_p99_ms == pytest.approx(10.0)
    assert done.broken(others=True) == []


def test_recovery_counts_from_the_fault_s_end_until_all_is_quick_and_nothing_outstanding() -> None:
    assert of(run({10: 0.5, 11: 0.5, 12: 0.5})).recovered_s == pytest.approx(3.5, abs=0.1)


def test_one_push_that_comes_late_holds_recovery_up() -> None:
    log = run()
    log.received[600] = 14.0
    assert of(log).recovered_s == pytest.approx(4.0, abs=0.1)


def test_what_never_comes_is_lost_and_never_recovered_from() -> None:
    done = of(run(lost=frozenset({700})))
    assert (done.lost, done.lost_ids, done.recovered_s) == (1, ["700"], None)
    assert done.broken(others=False) == ["1 lost", "not recovered within 15 s"]


def test_a_push_that_waits_for_its_caller_is_outstanding() -> None:
    log = run()
    log.samples[800].id = None
    log.received.pop(801)
    assert of(log).recovered_s is None
    assert of(log).lost == 0


def test_repeats_on_the_wire_are_no_duplicates_on_screens() -> None:
    log = run()
    log.frames[5] = 3
    assert (of(log).wire_duplicates, of(log).screen_duplicates) == (2, 0)
    log.shown[5] = 2
    assert of(log).broken(others=False) == ["1 twice on a screen"]


def test_a_push_under_two_ids_is_twice_on_a_screen_unless_its_caller_gave_up() -> None:
    log = run()
    log.received[99_999] = 7.0
    log.frames[99_999] = log.shown[99_999] = 1
    assert of(log).screen_duplicates == 1
    log.refused["http 503"] = 1
    assert (of(log).screen_duplicates, of(log).refused) == (0, 1)


def test_only_the_others_must_not_notice() -> None:
    late = run(dict.fromkeys(range(5, 10), 1.0))
    assert of(late).broken(others=True) == ["p99 of the other gateways' phones 1000.0 ms"]
    assert of(late).broken(others=False) == []


def test_recovery_is_not_claimed_of_a_time_in_which_nothing_was_offered() -> None:
    assert recovered_s([], Window(0.0, 1.0, 10.0)) is None
    assert recovered_s([(0.5, 0.01)], Window(0.0, 1.0, 2.0)) is None
