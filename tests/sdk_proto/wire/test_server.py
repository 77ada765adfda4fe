"""The server's session, rule by rule: what hostile or hasty clients get, the window, acks, and what time brings."""

from typing import Any

import pytest

from sdk_proto.wire import frames as f
from sdk_proto.wire.close import CloseCode
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.heartbeat import HeartbeatPolicy
from sdk_proto.wire.server import (
    Acked,
    AcksDropped,
    Close,
    Event,
    Joining,
    Missed,
    Offered,
    RecallShown,
    Send,
    Signed,
    Terms,
    Unsigned,
    Written,
)
from sdk_proto.wire.subprotocols import JSON, PROTO

NOW, WALL = 1_000.0, 1_790_000_000_000
TERMS = Terms()
HELLO = f.Hello(app="a", device="d", token="t", versions=(1,))


@pytest.fixture(params=[JSON, PROTO], ids=lambda codec: codec.subprotocol)
def codec(request: pytest.FixtureRequest) -> Codec:
    codec: Codec = request.param
    return codec


def signed(*, window: int = 4, interval_s: int = 240, ends_at: float = NOW + 86_400, terms: Terms = TERMS) -> Signed:
    return Signed(JSON, terms, window=window, interval_s=interval_s, ends_at=ends_at, now=NOW)


def offer(session: Signed, push_id: int, *, at: float = NOW, timeout_ms: int = 10_000, stored: bool = False) -> Offered:
    return session.offer(push_id, timeout_ms=timeout_ms, stored=stored, now=at, wall=WALL + round((at - NOW) * 1_000))


def say(session: Signed, *frames: f.ClientFrame, at: float = NOW) -> list[Event]:
    message = session.codec.encode(frames)
    return session.receive(message, text=not session.codec.binary, now=at, wall=WALL + round((at - NOW) * 1_000))


def codes(events: list[Event]) -> list[int]:
    return [event.code for event in events if isinstance(event, Close)]


# ── before sign-in ──────────────────────────────────────────────────────────────────────────────────────────────────


def first(codec: Codec, *frames: f.ClientFrame) -> Joining | Close:
    return Unsigned(codec, TERMS, NOW).receive(codec.encode(frames), text=not codec.binary)


def test_a_hello_is_taken(codec: Codec) -> None:
    joining = first(codec, HELLO)
    assert isinstance(joining, Joining)
    assert joining.hello == HELLO


def test_a_hello_late_is_4005_and_not_before_its_time() -> None:
    unsigned = Unsigned(JSON, TERMS, NOW)
    assert unsigned.due == NOW + 5
    assert unsigned.tick(NOW + 4.9) is None
    late = unsigned.tick(NOW + 5)
    assert late is not None
    assert late.code == CloseCode.HELLO_TOO_LATE


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param((f.Ping(),), id="a ping first"),
        pytest.param((f.Ack((1,)), HELLO), id="an ack first"),
        pytest.param((f.Unknown("later"),), id="an unknown frame first"),
        pytest.param((HELLO, HELLO), id="hello twice in one message"),
        pytest.param((HELLO, f.Ping(), HELLO), id="hello again later in the message"),
    ],
)
def test_anything_but_one_hello_first_is_4300(frames: tuple[Any, ...]) -> None:
    lines = [b'{"later":{}}' if isinstance(frame, f.Unknown) else JSON.encode([frame]) for frame in frames]
    refused = Unsigned(JSON, TERMS, NOW).receive(JSON.join(lines), text=True)
    assert isinstance(refused, Close)
    assert refused.code == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("message", [b"", b"{", b"[]", b"\xff", b'{"hello":{}}', b'{"hello":{"app":7}}'])
def test_garbage_first_is_4300(codec: Codec, message: bytes) -> None:
    refused = Unsigned(codec, TERMS, NOW).receive(message, text=not codec.binary)
    assert isinstance(refused, Close)
    assert refused.code == CloseCode.PROTOCOL_ERROR


def test_a_message_of_the_other_kind_is_4300(codec: Codec) -> None:
    refused = Unsigned(codec, TERMS, NOW).receive(codec.encode([HELLO]), text=codec.binary)
    assert isinstance(refused, Close)
    assert refused.code == CloseCode.PROTOCOL_ERROR


def test_no_common_version_is_4305(codec: Codec) -> None:
    refused = first(codec, f.Hello(app="a", device="d", token="t", versions=(2, 3)))
    assert isinstance(refused, Close)
    assert refused.code == CloseCode.NO_COMMON_VERSION


def test_a_refusal_never_repeats_the_token(codec: Codec) -> None:
    refused = Unsigned(JSON, TERMS, NOW).receive(b'{"hello":{"token":"s3cret","app":1}}', text=True)
    assert isinstance(refused, Close)
    assert "s3cret" not in refused.reason


# ── joining ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def join(**wishes: Any) -> tuple[Signed, f.Welcome, list[Event]]:
    hello = f.Hello(app="a", device="d", token="t", versions=(1,), **wishes)
    joining = first(JSON, hello)
    assert isinstance(joining, Joining)
    return joining.joined(session="s-1", ends_at=NOW + 3_600, pending=3, now=NOW, wall=WALL)


def test_welcome_says_what_is_in_force() -> None:
    session, welcome, events = join(heartbeat=300, window=8)
    assert welcome == f.Welcome(
        version=1,
        session="s-1",
        time=WALL,
        heartbeat=f.Heartbeat(next=300),
        window=8,
        max_frame=65_536,
        reconnect=f.Reconnect(),
        pending=3,
    )
    assert (session.window, events) == (8, [])
    assert session.due == NOW + 450


@pytest.mark.parametrize(("wish", "granted"), [(None, 32), (0, 1), (1, 1), (256, 256), (100_000, 256)])
def test_the_window_is_the_clients_wish_within_bounds(wish: int | None, granted: int) -> None:
    session, welcome, _ = join(window=wish)
    assert session.window == welcome.window == granted


def test_frames_that_came_with_the_hello_are_heard_after_the_welcome() -> None:
    joining = first(JSON, HELLO, f.Ack((5,)), f.Ping())
    assert isinstance(joining, Joining)
    _, _, events = joining.joined(session="s", ends_at=NOW + 60, pending=0, now=NOW, wall=WALL)
    assert events == [Acked(5, "received", None), Send(f.Pong(WALL))]


# ── frames of a signed-in client ────────────────────────────────────────────────────────────────────────────────────


def test_a_ping_gets_its_pong_and_the_sixth_at_once_4008() -> None:
    session = signed()
    for _ in range(5):
        assert say(session, f.Ping()) == [Send(f.Pong(WALL))]
    assert codes(say(session, f.Ping())) == [CloseCode.PINGING_TOO_FAST]


def test_after_a_refused_ping_nothing_more_of_the_message_counts() -> None:
    session = signed()
    offer(session, 1)
    events = say(session, *[f.Ping()] * 6, f.Ack((1,)))
    assert codes(events[-1:]) == [CloseCode.PINGING_TOO_FAST]
    assert 1 in session.unacked


def test_a_second_hello_is_4300() -> None:
    assert codes(say(signed(), HELLO)) == [CloseCode.PROTOCOL_ERROR]


def test_garbage_is_4300() -> None:
    assert codes(signed().receive(b"{", text=True, now=NOW, wall=WALL)) == [CloseCode.PROTOCOL_ERROR]


def test_an_unknown_frame_gets_an_error_and_the_session_stays() -> None:
    session = signed()
    (event,) = session.receive(b'{"dance":{"on":"table"}}', text=True, now=NOW, wall=WALL)
    assert isinstance(event, Send)
    assert isinstance(event.frame, f.Error)
    assert (event.frame.code, event.frame.retry) == ("unknown_frame", False)
    assert say(session, f.Ping()) == [Send(f.Pong(WALL))]


@pytest.mark.parametrize("frame", [f.Call(id=1, path="/x"), f.Subscribe(("t",)), f.Unsubscribe(("t",))])
def test_what_is_not_offered_gets_an_error(frame: f.ClientFrame) -> None:
    (event,) = say(signed(), frame)
    assert isinstance(event, Send)
    assert isinstance(event.frame, f.Error)
    assert event.frame.code == "not_available"


def test_a_change_of_state_is_only_a_sign_of_life() -> None:
    session = signed()
    assert say(session, f.StateChange("background"), at=NOW + 300) == []
    assert codes(session.tick(NOW + 600)) == []


# ── window and acks ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_offers_fill_the_window_and_no_more() -> None:
    session = signed(window=2)
    assert [offer(session, push_id) for push_id in (1, 2, 3)] == [Offered.SEND, Offered.SEND, Offered.FULL]
    assert (session.free, session.half_free) == (0, False)


def test_an_offer_of_what_is_unacked_is_a_repeat_even_when_the_window_is_full() -> None:
    session = signed(window=1)
    offer(session, 1)
    assert offer(session, 1) is Offered.REPEAT


def test_a_push_that_was_stored_after_it_was_written_is_acked_as_stored() -> None:
    session = signed(window=1)
    offer(session, 1)
    assert offer(session, 1, stored=True) is Offered.REPEAT
    assert offer(session, 1) is Offered.REPEAT
    (event,) = say(session, f.Ack((1,)))
    assert isinstance(event, Acked)
    assert event.push is not None
    assert event.push.stored, "else its inbox row would stay behind"


def test_an_ack_frees_a_place_and_tells_of_the_push() -> None:
    session = signed(window=2)
    offer(session, 1, stored=True)
    offer(session, 2)
    (event,) = say(session, f.Ack((1,), "displayed"))
    assert isinstance(event, Acked)
    assert (event.id, event.status) == (1, "displayed")
    assert event.push is not None
    assert (event.push.stored, event.push.written_at) == (True, WALL)
    assert (session.free, session.half_free) == (1, True)


def test_an_ack_of_what_is_not_unacked_here_is_passed_on_without_a_push() -> None:
    assert say(signed(), f.Ack((7,))) == [Acked(7, "received", None)]


def test_beyond_four_windows_a_minute_such_acks_are_dropped_with_a_count() -> None:
    session = signed(window=2)
    ids = tuple(range(100, 110))
    events = say(session, f.Ack(ids))
    assert events == [*[Acked(each, "received", None) for each in ids[:8]], AcksDropped(2)]
    assert say(session, f.Ack((200,)), at=NOW + 1) == [AcksDropped(1)]
    assert say(session, f.Ack((200,)), at=NOW + 8) == [Acked(200, "received", None)]


def test_acks_of_pushes_sent_here_are_never_dropped() -> None:
    session = signed(window=2)
    say(session, f.Ack(tuple(range(100, 200))))
    offer(session, 1)
    assert [type(event) for event in say(session, f.Ack((1,)))] == [Acked]


def test_what_is_unacked_at_the_end_is_lost() -> None:
    session = signed()
    offer(session, 1)
    offer(session, 2, timeout_ms=500)
    say(session, f.Ack((1,)))
    ((push_id, push),) = session.end()
    assert (push_id, push.deadline) == (2, WALL + 500)
    assert session.end() == []


# ── recalls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recall_is_shown_with_the_next_frame() -> None:
    session = signed()
    assert session.offer_recall(9) is Offered.SEND
    assert session.offer_recall(9) is Offered.REPEAT
    assert say(session, f.StateChange("foreground")) == [RecallShown(9)]
    assert say(session, f.StateChange("foreground")) == []


def test_recalls_not_shown_yet_are_bounded_by_the_window() -> None:
    session = signed(window=2)
    assert [session.offer_recall(each) for each in (1, 2, 3)] == [Offered.SEND, Offered.SEND, Offered.FULL]


def test_recalls_not_shown_yet_hold_up_what_waits_until_the_next_frame() -> None:
    session = signed(window=2)
    half_free = []
    for push_id in (1, 2):
        session.offer_recall(push_id)
        half_free.append(session.half_free)
    say(session, f.StateChange("foreground"))
    half_free.append(session.half_free)
    assert half_free == [True, False, True]


def test_pushes_whose_ack_was_missed_do_not_hold_up_what_waits() -> None:
    """A client that never acks three of four pushes got nothing more of its inbox until it reconnected."""
    session = signed(window=4)
    for push_id in (1, 2, 3):
        offer(session, push_id, timeout_ms=5_000)
    half_free = [session.half_free]
    session.tick(NOW + 5)
    half_free.append(session.half_free)
    offer(session, 4)
    half_free.append(session.half_free)
    say(session, f.Ack((4,)), at=NOW + 6)
    half_free.append(session.half_free)
    assert half_free == [False, True, False, True]


def test_a_recall_whose_connection_ended_was_not_shown() -> None:
    session = signed()
    session.offer_recall(9)
    assert session.end() == []


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_push_unacked_for_a_second_is_written_and_at_its_deadline_missed_once_each() -> None:
    session = signed()
    offer(session, 1)
    assert session.due == NOW + 1
    assert session.tick(NOW + 0.9) == []
    (written,) = session.tick(NOW + 1)
    assert isinstance(written, Written)
    assert (written.id, written.push.stored) == (1, False)
    assert session.due == NOW + 10
    assert session.tick(NOW + 9) == []
    (missed,) = session.tick(NOW + 10)
    assert isinstance(missed, Missed)
    assert (missed.id, missed.push.stored, missed.push.deadline) == (1, True, WALL + 10_000)
    assert session.tick(NOW + 11) == []
    assert 1 in session.unacked


def test_an_ack_after_the_deadline_still_counts() -> None:
    session = signed()
    offer(session, 1)
    session.tick(NOW + 11)
    (event,) = say(session, f.Ack((1,)), at=NOW + 12)
    assert isinstance(event, Acked)
    assert event.push is not None
    assert event.push.stored


def test_silence_of_grace_intervals_is_4001() -> None:
    session = signed(interval_s=100)
    assert codes(session.tick(NOW + 149)) == []
    say(session, f.Ping(), at=NOW + 149)
    assert codes(session.tick(NOW + 298)) == []
    assert codes(session.tick(NOW + 299)) == [CloseCode.HEARTBEAT_MISSED]


def test_a_wish_outside_the_bounds_is_clamped_and_the_pong_says_so() -> None:
    session = signed()
    assert say(session, f.Ping(next=9_999)) == [Send(f.Pong(WALL, 600))]
    assert session.tick(NOW + 899.9) == []
    assert codes(session.tick(NOW + 900)) == [CloseCode.HEARTBEAT_MISSED]
    assert say(signed(), f.Ping(next=5)) == [Send(f.Pong(WALL, 60))]
    assert say(signed(), f.Ping(next=60)) == [Send(f.Pong(WALL))]


def test_new_bounds_reach_a_session_with_its_next_ping_and_its_silence_is_the_old_one_until_then() -> None:
    terms = Terms()
    pinging, mute, without_a_wish = (signed(terms=terms, interval_s=600) for _ in range(3))
    terms.heartbeat = HeartbeatPolicy(min_s=30, max_s=120, default_s=60, grace=2.0)
    assert mute.tick(NOW + 899) == []
    assert codes(mute.tick(NOW + 900)) == [CloseCode.HEARTBEAT_MISSED]
    assert say(without_a_wish, f.Ping()) == [Send(f.Pong(WALL, 120))]
    assert say(pinging, f.Ping(next=90)) == [Send(f.Pong(WALL))]
    for session, silent_s in ((without_a_wish, 240), (pinging, 180)):
        assert session.due == NOW + silent_s
        assert session.tick(NOW + silent_s - 0.1) == []
        assert codes(session.tick(NOW + silent_s)) == [CloseCode.HEARTBEAT_MISSED]


def test_a_client_may_change_its_interval_with_a_ping() -> None:
    session = signed(interval_s=600)
    say(session, f.Ping(next=60))
    assert session.due == NOW + 90
    assert codes(session.tick(NOW + 90)) == [CloseCode.HEARTBEAT_MISSED]


def test_an_old_connection_is_asked_to_be_made_anew_and_then_ended() -> None:
    session = Signed(JSON, TERMS, window=4, interval_s=600, ends_at=NOW + 500, ages_at=NOW + 100, now=NOW)
    assert session.due == NOW + 100
    assert session.tick(NOW + 100) == [Send(f.Migrate())]
    assert session.due == NOW + 100 + TERMS.leave_s
    assert offer(session, 7, at=NOW + 101) is Offered.SEND
    assert codes(session.tick(NOW + 100 + TERMS.leave_s)) == [CloseCode.MAXIMUM_AGE]


def test_a_token_that_ends_before_the_connection_is_old_ends_the_session() -> None:
    session = Signed(JSON, TERMS, window=4, interval_s=600, ends_at=NOW + 50, ages_at=NOW + 100, now=NOW)
    assert codes(session.tick(NOW + 50)) == [CloseCode.TOKEN_EXPIRED]


def test_a_token_that_expires_ends_the_session_with_4200() -> None:
    session = signed(ends_at=NOW + 30)
    assert session.due == NOW + 30
    assert codes(session.tick(NOW + 30)) == [CloseCode.TOKEN_EXPIRED]


def test_a_full_window_without_an_ack_for_a_minute_is_4002() -> None:
    session = signed(window=1)
    offer(session, 1, timeout_ms=600_000)
    say(session, f.Ping(), f.Ack((99,)), at=NOW + 30)  # neither is an ack of what was sent here
    assert codes(session.tick(NOW + 59.9)) == []
    assert session.due <= NOW + 60
    assert codes(session.tick(NOW + 60)) == [CloseCode.TOO_SLOW]


def test_an_ack_starts_the_minute_of_a_full_window_anew() -> None:
    session = signed(window=2)
    offer(session, 1, timeout_ms=600_000)
    offer(session, 2, timeout_ms=600_000)
    say(session, f.Ack((1,)), at=NOW + 59)
    assert codes(session.tick(NOW + 61)) == []
    offer(session, 3, at=NOW + 62, timeout_ms=600_000)
    assert codes(session.tick(NOW + 121)) == []
    assert codes(session.tick(NOW + 122)) == [CloseCode.TOO_SLOW]


def test_what_stays_unsent_for_half_a_minute_is_4002() -> None:
    session = signed()
    assert codes(session.tick(NOW + 1, unsent=10)) == []
    assert session.due <= NOW + 6
    assert codes(session.tick(NOW + 30.9, unsent=10)) == []
    assert codes(session.tick(NOW + 31, unsent=10)) == [CloseCode.TOO_SLOW]


def test_a_moment_with_everything_sent_starts_that_anew() -> None:
    session = signed()
    session.tick(NOW + 1, unsent=10)
    session.tick(NOW + 6, unsent=0)
    session.tick(NOW + 11, unsent=10)
    assert codes(session.tick(NOW + 32, unsent=10)) == []
    assert codes(session.tick(NOW + 41, unsent=10)) == [CloseCode.TOO_SLOW]


# ── the short way of an ack ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ids", [(1,), (2, 1), (1, 2, 3, 4)])
def test_the_short_way_settles_what_the_general_way_settles(ids: tuple[int, ...]) -> None:
    short, general = signed(), signed()
    for session in (short, general):
        for push_id in (1, 2, 3, 4):
            offer(session, push_id, stored=push_id == 2)
    pushes = short.received(ids, NOW + 1)
    assert pushes is not None
    acked = [event for event in say(general, f.Ack(ids), at=NOW + 1) if isinstance(event, Acked)]
    assert [(event.id, event.push) for event in acked] == list(zip(ids, pushes, strict=True))
    assert short.unacked == general.unacked
    assert short.free == general.free
    assert (short.tick(NOW + 300), short.due) == (general.tick(NOW + 300), general.due)


@pytest.mark.parametrize("ids", [(9,), (1, 9), (1, 1)])
def test_an_ack_of_anything_else_changes_nothing_on_the_short_way(ids: tuple[int, ...]) -> None:
    session = signed()
    offer(session, 1)
    assert session.received(ids, NOW + 1) is None
    assert list(session.unacked) == [1]
    assert session.tick(NOW + 360) == [Close(CloseCode.HEARTBEAT_MISSED, "nothing heard for too long")]


def test_a_recall_that_waits_to_be_seen_is_for_the_general_way() -> None:
    session = signed()
    offer(session, 1)
    session.offer_recall(7)
    assert session.received((1,), NOW) is None
    assert RecallShown(7) in say(session, f.Ack((1,)))
