from sdk_proto.python.heartbeat import Heartbeat
from sdk_proto.wire.frames import Heartbeat as Bounds

BOUNDS = Bounds(min=60, max=600, grace=1.5, next=240)


def test_a_ping_is_due_after_each_interval_whatever_else_was_received() -> None:
    beat = Heartbeat(BOUNDS, 10, now=1000)
    assert not beat.is_ping_due(1239.9)
    beat.received(1239.9)
    assert beat.is_ping_due(1240)
    beat.ping_sent(1240)
    beat.received(1240)
    assert beat.deadline == 1480
    assert not beat.is_dead(1479)


def test_a_ping_without_any_answer_means_death() -> None:
    beat = Heartbeat(BOUNDS, 10, now=0)
    beat.ping_sent(240)
    assert beat.deadline == 250
    assert not beat.is_ping_due(249)  # one at a time
    assert not beat.is_dead(249.9)
    assert beat.is_dead(250)


def test_a_second_ping_does_not_extend_the_patience() -> None:
    beat = Heartbeat(BOUNDS, 10, now=0)
    beat.ping_sent(240)
    beat.ping_sent(249)
    assert beat.is_dead(250)


def test_a_wish_is_clamped_to_the_servers_bounds() -> None:
    beat = Heartbeat(BOUNDS, 10, now=0)
    assert beat.wish(5)
    assert beat.next_s == 60
    assert not beat.wish(60)
    assert beat.wish(10_000)
    assert beat.next_s == 600


def test_a_shorter_interval_counts_from_the_last_ping_and_a_longer_one_from_the_next() -> None:
    beat = Heartbeat(BOUNDS, 10, now=0)
    beat.ping_sent(240)
    beat.received(241)
    beat.wish(600)
    assert beat.deadline == 480  # the server counts on the ping that was promised
    beat.wish(100)
    assert beat.deadline == 340


def test_a_ping_tells_how_long_nothing_had_passed_before_it() -> None:
    beat = Heartbeat(BOUNDS, 10, now=0)
    assert beat.received(5) is None
    beat.sent(40)
    beat.ping_sent(240)
    beat.ping_sent(245)  # the first one is still the one that waits
    assert beat.unanswered_quiet_s == 200
    assert beat.received(246) == 200
    assert beat.received(247) is None
    beat.ping_sent(480)
    assert beat.received(481) == 233


def test_a_server_that_changed_its_bounds_says_what_is_in_force() -> None:
    beat = Heartbeat(BOUNDS, 10, now=0)
    beat.ping_sent(240)
    beat.told(100)
    assert beat.deadline == 250  # the answer has not been counted yet
    beat.received(241)
    assert (beat.next_s, beat.deadline) == (100, 340)
    beat.wish(600)
    assert beat.next_s == 100  # more is not allowed any more
    beat.ping_sent(340)
    beat.received(341)
    beat.told(300)
    assert (beat.next_s, beat.deadline) == (300, 640)
    beat.wish(60)
    assert beat.next_s == 300
