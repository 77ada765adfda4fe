"""The server's session and what isn't stored for it: topics, and live pushes that take places of its window."""

import pytest

from sdk_proto.wire import frames as f
from sdk_proto.wire.server import TOPICS, Acked, Event, Joining, LiveAcked, Offered, Send, Signed, Terms, Wished
from sdk_proto.wire.subprotocols import JSON

NOW, WALL = 1_000.0, 1_790_000_000_000
WITH_TOPICS = Terms(features=(TOPICS,))
UNTIL = NOW + 10


def signed(*, window: int = 2, terms: Terms = WITH_TOPICS) -> Signed:
    return Signed(JSON, terms, window=window, interval_s=240, ends_at=NOW + 86_400, now=NOW)


def offer(session: Signed, push_id: int, *, at: float = NOW) -> Offered:
    return session.offer(push_id, timeout_ms=60_000, stored=False, now=at, wall=WALL)


def live(session: Signed, push_id: int, *, at: float = NOW, until: float = UNTIL) -> Offered:
    return session.offer_live(push_id, until=until, now=at)


def say(session: Signed, *frames: f.ClientFrame, at: float = NOW) -> list[Event]:
    return session.receive(session.codec.encode(frames), text=True, now=at, wall=WALL)


# ── topics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("terms", "wished", "on"),
    [
        (WITH_TOPICS, ("calls", TOPICS), (TOPICS,)),
        (WITH_TOPICS, (), ()),
        (Terms(), (TOPICS,), ()),
    ],
)
def test_features_are_those_wished_that_are_on(terms: Terms, wished: tuple[str, ...], on: tuple[str, ...]) -> None:
    hello = f.Hello(app="a", device="d", token="t", versions=(1,), features=wished)
    _, welcome, _ = Joining(JSON, terms, hello, ()).joined(session="s", ends_at=UNTIL, pending=0, now=NOW, wall=WALL)
    assert welcome.features == on


def test_a_client_says_what_topics_it_wants_and_wants_no_more() -> None:
    events = say(signed(), f.Subscribe(("a", "b")), f.Ping(), f.Unsubscribe(("a",)))
    assert events == [Wished(("a", "b"), True), Send(f.Pong(WALL)), Wished(("a",), False)]


# ── live pushes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_live_pushes_and_others_share_the_window() -> None:
    session = signed(window=2)
    assert [live(session, 1), offer(session, 2)] == [Offered.SEND] * 2
    assert [live(session, 3), offer(session, 4)] == [Offered.FULL] * 2
    assert session.free == 0


def test_a_live_push_is_not_written_twice_whichever_way_it_came_first() -> None:
    session = signed()
    assert [live(session, 1), live(session, 1)] == [Offered.SEND, Offered.REPEAT]
    assert [offer(session, 2), live(session, 2)] == [Offered.SEND, Offered.REPEAT]


def test_the_ack_of_a_live_push_gives_its_place_back_and_is_no_foreign_one() -> None:
    session = signed(window=1)
    live(session, 1)
    assert say(session, f.Ack((1,))) == [LiveAcked(1, "received")]
    assert session.free == 1
    (second,) = say(session, f.Ack((1,), "displayed"))
    assert isinstance(second, Acked)  # not un-acked here any more
    assert second.push is None


def test_acks_of_live_pushes_use_up_none_of_those_for_what_is_not_unacked_here() -> None:
    session = signed(window=2)
    for number in range(100):
        assert live(session, number + 1) is Offered.SEND
        assert say(session, f.Ack((number + 1,))) == [LiveAcked(number + 1, "received")]


@pytest.mark.parametrize("then", ["offer", "live", "tick"])
def test_a_live_push_that_is_not_acked_gives_its_place_back_when_its_time_is_over_and_nobody_is_told(then: str) -> None:
    session = signed(window=1)
    live(session, 1)
    for at, given in ((UNTIL - 0.1, Offered.FULL), (UNTIL, Offered.SEND)):
        if then == "tick":
            assert session.tick(at) == []
            assert session.free == (given is Offered.SEND)
        else:
            assert (offer(session, 2, at=at) if then == "offer" else live(session, 2, at=at, until=UNTIL + 5)) is given


def test_what_is_live_is_lost_with_the_connection_and_nobody_is_told() -> None:
    session = signed()
    live(session, 1)
    assert session.end() == []


def test_a_window_full_of_live_pushes_leaves_room_for_late_acks() -> None:
    session = signed(window=1)
    live(session, 1)
    (event,) = say(session, f.Ack((9,)))
    assert isinstance(event, Acked)
