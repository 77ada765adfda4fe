"""A connection's conversation, without the connection."""

from typing import Any

import msgspec
import pytest

from sdk_proto.python.acks import LIMIT, Acks
from sdk_proto.python.session import Failed, Limits, Session
from sdk_proto.python.topics import Topics
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import JSON, PROTO
from tests.sdk_proto.python.fake_gateway import WELCOME

HELLO = f.Hello(app="courier", device="d-1", token="token", versions=(1,), heartbeat=240, state="foreground")


class Talk:
    """A session and what a server would have to say to it."""

    def __init__(
        self,
        codec: Codec = PROTO,
        acks: Acks | None = None,
        seen: set[int] | None = None,
        topics: Topics | None = None,
    ) -> None:
        self.codec = codec
        self.seen = seen if seen is not None else set()
        self.acks = acks or Acks()
        self.session = Session(
            codec=codec, hello=HELLO, seen=self.seen, acks=self.acks, now=0, limits=Limits(), topics=topics
        )

    def says(self, *frames: Any, now: float = 0) -> list[Any]:
        return self.session.receive(self.codec.encode(frames), now)

    def heard(self) -> list[Any]:
        return [frame for message in self.session.take_outgoing() for frame in self.codec.decode_client(message)]


def live(**parts: Any) -> Talk:
    talk = Talk(**parts)
    talk.session.opened(0)
    talk.heard()
    talk.says(WELCOME)
    return talk


@pytest.mark.parametrize("codec", [JSON, PROTO], ids=lambda codec: codec.subprotocol)
def test_hello_is_the_first_frame_and_goes_once(codec: Codec) -> None:
    talk = Talk(codec)
    assert talk.heard() == []
    talk.session.opened(1)
    talk.session.opened(1)
    assert talk.heard() == [HELLO]
    assert talk.says(WELCOME) == [WELCOME]
    assert talk.session.is_live
    talk.session.opened(1)
    assert talk.heard() == []


@pytest.mark.parametrize(("opened", "deadline", "reason"), [(False, 15, "no connection"), (True, 22, "no welcome")])
def test_each_step_of_the_sign_in_has_its_deadline(opened: bool, deadline: float, reason: str) -> None:
    talk = Talk()
    if opened:
        talk.session.opened(7)
    deadlines = [talk.session.deadline]
    assert talk.session.tick(deadline - 0.1) == []
    (failed,) = talk.session.tick(deadline)
    assert isinstance(failed, Failed)
    assert failed.reason.startswith(reason)
    assert [*deadlines, talk.session.deadline] == [deadline, None]
    assert talk.session.tick(deadline + 100) == []


def test_nothing_counts_before_the_welcome_but_a_bye() -> None:
    talk = Talk()
    talk.session.opened(0)
    assert talk.says(f.Push(id=1), f.Recall(1), f.Pong(1)) == []
    bye = f.Bye(code=4201)
    assert talk.says(bye) == [bye]


def test_a_version_that_was_not_offered_ends_it() -> None:
    talk = Talk()
    talk.session.opened(0)
    (failed,) = talk.says(msgspec.structs.replace(WELCOME, version=2))
    assert isinstance(failed, Failed)


def test_nothing_counts_after_a_bye() -> None:
    talk = live()
    bye = f.Bye(code=4100)
    assert talk.says(f.Push(id=1), bye, f.Push(id=2)) == [f.Push(id=1), bye]
    assert talk.says(f.Push(id=3)) == []


def test_a_second_welcome_and_unknown_frames_change_nothing() -> None:
    talk = live()
    assert talk.says(msgspec.structs.replace(WELCOME, window=1)) == []
    assert talk.session.receive(bytes.fromhex("0a03fa0100"), 0) == []


def test_a_known_push_is_acked_and_kept_back() -> None:
    talk = live(seen={7})
    assert talk.says(f.Push(id=7), f.Push(id=8), now=1.0) == [f.Push(id=8)]
    assert talk.session.deadline == 1.05
    talk.session.tick(1.05)
    assert talk.heard() == [f.Ack((7,))]


def test_pings_go_by_the_interval_in_force_and_take_waiting_acks_along() -> None:
    talk = live()
    assert talk.session.deadline == 240
    talk.acks.add(7, "received", 239.99)
    talk.session.tick(240)
    assert talk.heard() == [f.Ack((7,)), f.Ping(240)]
    talk.says(f.Pong(1), now=240.1)
    assert talk.session.deadline == 480


def test_any_frame_answers_a_ping_and_nothing_at_all_ends_it() -> None:
    talk = live()
    talk.session.tick(240)
    talk.says(f.Push(id=1), now=245)
    assert talk.session.tick(250) == []
    talk.session.tick(480)
    assert talk.session.tick(490) == [Failed("no answer to a ping")]


def test_garbage_ends_it() -> None:
    talk = live()
    (failed,) = talk.session.receive(b"\xff", 0)
    assert isinstance(failed, Failed)
    assert talk.heard() == []


def test_what_changed_between_hello_and_welcome_is_told_after_the_welcome() -> None:
    talk = Talk()
    talk.session.opened(0)
    talk.heard()
    talk.session.set_state("background", 0)
    talk.session.set_heartbeat(60, 0)
    assert talk.heard() == []
    talk.says(WELCOME)
    assert talk.heard() == [f.StateChange("background"), f.Ping(60)]


def test_what_changed_before_hello_is_in_it() -> None:
    talk = Talk()
    talk.session.set_state("background", 0)
    talk.session.opened(0)
    talk.says(WELCOME)
    assert talk.heard() == [msgspec.structs.replace(HELLO, state="background")]


def test_reports_are_confirmed_by_the_pong_of_a_ping_sent_after_them() -> None:
    acks = Acks()
    talk = live(acks=acks)
    acks.add(7, "displayed", 0)
    talk.session.ping(1)
    acks.add(8, "displayed", 1)
    talk.session.flush()
    talk.says(f.Pong(1), now=2)
    again = live(acks=acks)
    assert again.heard() == [f.Ack((8,), "displayed")]


@pytest.mark.parametrize("codec", [JSON, PROTO], ids=lambda codec: codec.subprotocol)
def test_a_long_backlog_of_acks_is_split_into_messages_a_server_takes(codec: Codec) -> None:
    acks = Acks()
    for number in range(LIMIT):
        acks.add(f.MAX_ID - number, ("displayed", "clicked")[number % 2], 0)
    talk = live(codec=codec, acks=acks)
    messages = talk.session.take_outgoing()
    assert all(len(message) <= f.MAX_FRAME for message in messages)
    frames = [frame for message in messages for frame in codec.decode_client(message)]
    assert sum(len(frame.ids) for frame in frames if isinstance(frame, f.Ack)) == LIMIT


def test_topics_are_told_when_they_change_and_all_of_them_after_each_welcome() -> None:
    topics = Topics()
    early = Talk(topics=topics)
    early.session.tell(topics.want(["a", "b"]))
    early.session.opened(0)
    assert early.heard() == [HELLO]  # there is no need to before the welcome
    early.says(WELCOME)
    assert early.heard() == [f.Subscribe(("a", "b"))]
    early.session.tell(topics.want(["b", "c"]))
    early.session.tell(topics.drop(["a", "never"]))
    assert early.heard() == [f.Subscribe(("c",)), f.Unsubscribe(("a",))]
    later = Talk(topics=topics)
    later.session.opened(0)
    later.says(WELCOME)
    assert later.heard() == [HELLO, f.Subscribe(("b", "c"))]
