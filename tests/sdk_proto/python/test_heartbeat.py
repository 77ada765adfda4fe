from sdk_proto.python.heartbeat import Heartbeat
from sdk_proto.wire.frames import Heartbeat as Bounds

BOUNDS = Bounds(min=60, max=600, grace=1.5, next=240)


def test_a_ping_is_due_after_each_interval_whatever_else_was_received() -> None:
    beat = Heartbeat(BOUNDS, 10, now=1000)
    assert not beat.is_ping_due(1239.9)
    beat.received()
    assert beat.is_ping_due(1240)
    beat.ping_sent(1240)
    beat.received()
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
