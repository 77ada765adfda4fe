from structlog.testing import capture_logs

from push_api.complaints import Complaints
from push_core.errors import Overloaded, Unavailable, UserError
from tests.support.hand_clock import HandClock


def test_an_outage_is_logged_once_a_second_with_the_number_of_the_others() -> None:
    clock = HandClock()
    complaints = Complaints(clock.clock())
    with capture_logs() as lines:
        for _ in range(100):
            complaints.say(Unavailable("the store is away"), "send", "trace")
        clock.advance(1.0)
        complaints.say(Unavailable("the store is away"), "send", "trace")
    assert [(line["reason"], line["like_it"]) for line in lines] == [
        ("the store is away", 0),
        ("the store is away", 99),
    ]


def test_another_code_is_another_line() -> None:
    complaints = Complaints(HandClock().clock())
    with capture_logs() as lines:
        complaints.say(Unavailable("away"), "send", "")
        complaints.say(Overloaded("full"), "send", "")
    assert [line["code"] for line in lines] == ["unavailable", "overloaded"]


def test_errors_of_callers_are_not_logged() -> None:
    with capture_logs() as lines:
        Complaints(HandClock().clock()).say(UserError("no", code="invalid"), "send", "")
    assert lines == []
