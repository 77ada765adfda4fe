from sdk_proto.python import acks
from sdk_proto.python.acks import Acks
from sdk_proto.wire.frames import Ack


def opened(window: int = 1_000) -> Acks:
    made = Acks()
    made.reopen(window, 0)
    return made


def test_an_ack_waits_50_ms_for_others() -> None:
    waiting = opened()
    due = [waiting.due_at]
    waiting.add(1, "received", 10.0)
    waiting.add(2, "received", 10.04)
    due.append(waiting.due_at)
    assert waiting.take() == [Ack((1, 2))]
    due.append(waiting.due_at)
    assert waiting.take() == []
    assert due == [None, 10.05, None]


def test_64_ids_go_at_once() -> None:
    waiting = opened()
    for number in range(1, 65):
        waiting.add(number, "received", 10.0 + number / 10_000)
    assert waiting.due_at == 10.0064


def test_half_a_window_goes_at_once_since_the_server_waits_for_it() -> None:
    waiting = opened(window=4)
    waiting.add(1, "received", 10.0)
    waiting.add(2, "received", 10.0)
    assert waiting.due_at == 10.0


def test_one_frame_holds_one_status_and_each_id_once() -> None:
    waiting = opened()
    for message_id, status in [(1, "received"), (2, "displayed"), (1, "received"), (3, "received"), (2, "clicked")]:
        waiting.add(message_id, status, 0)
    assert waiting.take() == [Ack((1, 3)), Ack((2,), "displayed"), Ack((2,), "clicked")]


def test_a_frame_holds_512_ids_at_most() -> None:
    waiting = opened()
    for number in range(1, 1_026):
        waiting.add(number, "received", 0)
    assert [len(frame.ids) for frame in waiting.take()] == [512, 512, 1]


def test_reports_are_sent_again_until_a_pong_shows_that_they_were_read() -> None:
    waiting = opened()
    waiting.add(1, "received", 0)
    waiting.add(2, "displayed", 0)
    waiting.take()
    read = waiting.mark
    waiting.add(3, "clicked", 0)
    waiting.take()
    waiting.confirm(read)
    waiting.add(4, "received", 5.0)
    waiting.reopen(1_000, 6.0)
    assert waiting.due_at == 6.0
    assert waiting.take() == [Ack((3,), "clicked"), Ack((4,))]
    waiting.reopen(1_000, 7.0)
    assert waiting.take() == [Ack((3,), "clicked")]


def test_without_a_connection_the_oldest_give_way_and_are_counted() -> None:
    waiting = opened()
    for number in range(1, acks.LIMIT + 11):
        waiting.add(number, "displayed", 0)
    assert waiting.dropped == 10
    assert waiting.take()[0].ids[0] == 11
