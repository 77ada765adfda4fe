"""Rules in force on a node: followed, counted, tried, and held when what comes next makes no sense."""

from typing import Any, cast

import pytest

from push_core.control.port import Control, Entry
from push_core.control.watch import ControlWatch
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_gateway.guard.rule_book import NO_LIMITS, RuleBook
from push_gateway.guard.rules import CONTROL_KEY
from tests.push_gateway.guard.test_rules import rule
from tests.support.hand_clock import HandClock


class Desk:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.metrics = MemoryMetrics()
        self.watch = ControlWatch(cast(Control, None), None)  # nothing is polled
        self.book = RuleBook(self.watch, self.metrics, self.clock.clock().monotonic)
        self._version = 0

    def put(self, *rules: dict[str, Any]) -> None:
        self.say({"rules": list(rules)})

    def say(self, value: Any) -> None:
        self._version += 1
        self.watch._take([Entry(CONTROL_KEY, self._version, value)])

    def sign_in(self, address: str = "203.0.113.9", agent: str = "okhttp/3.12") -> float | None:
        """None: no upgrade; else the seconds to wait."""
        limits = self.book.meet(address, agent)
        return None if limits is None else self.book.wait_s(limits, address)

    def counted(self, name: str, outcome: str) -> int:
        self.book.flush()
        return self.metrics.counted(Metric.GW_RULES, rule=name, outcome=outcome)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_without_rules_everybody_comes_in(desk: Desk) -> None:
    assert desk.book.meet("203.0.113.9", "x") is NO_LIMITS
    assert not desk.book.any
    assert desk.sign_in() == 0.0


def test_a_limit_holds_for_all_that_fit_together(desk: Desk) -> None:
    desk.put(rule("scripts", user_agent="okhttp/3*", sign_ins_per_s=1, burst=2))
    assert [desk.sign_in(f"203.0.113.{n}") for n in range(3)] == [0.0, 0.0, 1.0]
    assert desk.sign_in(agent="okhttp/4") == 0.0
    desk.clock.advance(1.0)
    assert desk.sign_in() == 0.0
    assert (desk.counted("scripts", "passed"), desk.counted("scripts", "limited")) == (3, 1)


def test_a_limit_per_address_holds_for_each(desk: Desk) -> None:
    desk.put(rule("scripts", user_agent="okhttp/3*", sign_ins_per_s=1, burst=1, per="address"))
    assert [desk.sign_in(f"203.0.113.{n}") for n in (1, 2, 1)] == [0.0, 0.0, 1.0]
    assert [desk.sign_in(address) for address in ("2001:db8::1", "2001:db8::2")] == [0.0, 1.0]  # one caller has 64 bits


def test_the_longest_wait_of_several_rules_counts(desk: Desk) -> None:
    desk.put(
        rule("a", user_agent="ok*", sign_ins_per_s=1, burst=1), rule("b", user_agent="*", sign_ins_per_s=0.1, burst=1)
    )
    assert desk.sign_in() == 0.0
    assert desk.sign_in() == pytest.approx(10.0)


def test_refuse_means_no_upgrade(desk: Desk) -> None:
    desk.put(rule("scripts", user_agent="okhttp/3*", action="refuse", sign_ins_per_s=0))
    assert desk.sign_in() is None
    assert desk.sign_in(agent="okhttp/4") == 0.0
    assert desk.counted("scripts", "refused") == 1


def test_a_rule_on_trial_counts_and_does_nothing(desk: Desk) -> None:
    desk.put(
        rule("no", user_agent="ok*", action="refuse", sign_ins_per_s=0, dry_run=True),
        rule("slow", user_agent="ok*", sign_ins_per_s=1, burst=1, dry_run=True),
    )
    assert [desk.sign_in() for _ in range(4)] == [0.0] * 4
    assert desk.counted("no", "would_refuse") == 4
    assert (desk.counted("slow", "passed"), desk.counted("slow", "would_limit")) == (1, 3)
    assert desk.counted("slow", "limited") == desk.counted("no", "refused") == 0


def test_rules_that_make_no_sense_change_nothing_and_are_counted(desk: Desk) -> None:
    desk.put(rule("no", user_agent="ok*", action="refuse", sign_ins_per_s=0))
    desk.say({"rules": [{"name": "no"}]})
    assert desk.sign_in() is None
    assert "missing required field `match`" in desk.book.bad
    assert desk.book.version == 1
    assert desk.metrics.counted(Metric.GW_RULES_BAD) == 1
    desk.put()
    assert (desk.sign_in(), desk.book.bad, desk.book.version) == (0.0, "", 3)


def test_rules_that_are_removed_are_gone(desk: Desk) -> None:
    desk.put(rule("no", user_agent="ok*", action="refuse", sign_ins_per_s=0))
    desk.say(None)
    assert desk.sign_in() == 0.0
    assert not desk.book.any


def test_a_change_of_one_rule_gives_nobody_else_a_new_burst(desk: Desk) -> None:
    slow = rule("slow", user_agent="ok*", sign_ins_per_s=0.1, burst=1)
    desk.put(slow)
    assert desk.sign_in() == 0.0
    desk.put(rule("other", networks=["10.0.0.0/8"]), slow)
    assert desk.sign_in() == pytest.approx(10.0)


def test_a_device_between_upgrade_and_hello_keeps_the_rules_it_met(desk: Desk) -> None:
    desk.put(rule("slow", user_agent="ok*", sign_ins_per_s=0.1, burst=1))
    limits = desk.book.meet("203.0.113.9", "okhttp/3")
    assert limits is not None
    desk.put()
    assert [desk.book.wait_s(limits, "203.0.113.9") for _ in range(2)] == [0.0, pytest.approx(10.0)]


def test_the_version_in_force_is_told(desk: Desk) -> None:
    desk.put()
    desk.book.flush()
    assert desk.metrics.newest(Metric.GW_RULES_VERSION) == 1.0
