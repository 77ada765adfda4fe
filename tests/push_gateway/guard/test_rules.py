"""Rules say whom they are about; wrong ones are refused with a sentence; no request takes long to be judged."""

import fnmatch
import ipaddress
import re
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_gateway.guard.rules import AGENTS_KEPT, MOST_RULES, Rule, RuleSet


def rule(name: str = "r", **fields: Any) -> dict[str, Any]:
    match = {key: fields.pop(key) for key in ("networks", "user_agent") if key in fields}
    return {"name": name, "match": match, "sign_ins_per_s": 5} | fields


def rules(*values: dict[str, Any]) -> RuleSet:
    return RuleSet.from_value({"rules": list(values)})


def names(found: list[Rule]) -> list[str]:
    return [each.name for each in found]


def test_networks_and_agents_must_both_fit_where_both_are_named() -> None:
    known = rules(
        rule("net", networks=["203.0.113.0/24", "2001:db8::/32"]),
        rule("agent", user_agent="okhttp/3*"),
        rule("both", networks=["203.0.113.0/24"], user_agent="okhttp/3*"),
        rule("none", user_agent=""),
    )
    assert names(known.of("203.0.113.9", "okhttp/3.12")) == ["net", "agent", "both"]
    assert names(known.of("::ffff:203.0.113.9", "OkHttp/3.12")) == ["net", "agent", "both"]
    assert names(known.of("2001:db8::1", "okhttp/4")) == ["net"]
    assert names(known.of("198.51.100.1", "okhttp/3.12")) == ["agent"]
    assert names(known.of("198.51.100.1", "")) == ["none"]
    assert names(known.of("", "Mozilla/5.0")) == []


def test_no_rules_fit_nobody() -> None:
    assert RuleSet.from_value(None).of("203.0.113.9", "x") == []
    assert RuleSet.from_value({"rules": []}).of("203.0.113.9", "x") == []


def test_what_was_read_can_be_written_and_read_again() -> None:
    known = rules(
        rule("a", networks=["10.0.0.0/8"], burst=7, per="address", dry_run=True, note="why"), rule("b", user_agent="x*")
    )
    assert RuleSet.from_value(known.to_value()).rules == known.rules


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        pytest.param([], "object", id="not an object"),
        pytest.param({"rulez": []}, "unknown field `rulez`", id="a key that is none"),
        pytest.param({"rules": [{"match": {"user_agent": "x"}}]}, "missing required field `name`", id="no name"),
        pytest.param({"rules": [rule("A B", user_agent="x")]}, "name: 1 to 40", id="a name with a space"),
        pytest.param({"rules": [rule(user_agent="x"), rule(user_agent="y")]}, "used twice", id="a name twice"),
        pytest.param({"rules": [rule()]}, "name networks, a user_agent or both", id="a rule for everybody"),
        pytest.param(
            {"rules": [rule(networks=["10.0.0.1/8"])]}, "rule r: match.networks: .*10.0.0.0/8", id="host bits"
        ),
        pytest.param({"rules": [rule(networks="10.0.0.0/8")]}, r"array.*match.networks", id="a network without a list"),
        pytest.param(
            {"rules": [rule(user_agent="x", action="ban")]}, "Invalid enum value 'ban'", id="an action that is none"
        ),
        pytest.param({"rules": [rule(user_agent="x", sign_ins_per_s=0)]}, "sign_ins_per_s: above 0", id="no rate"),
        pytest.param(
            {"rules": [rule(user_agent="x", sign_ins_per_s=-1)]}, "sign_ins_per_s: above 0", id="a rate below 0"
        ),
        pytest.param({"rules": [rule(user_agent="x", sign_ins_per_s="5")]}, "float", id="a rate in quotes"),
        pytest.param({"rules": [rule(user_agent="x", burst=0.5)]}, "burst: 1 to", id="half a burst"),
        pytest.param(
            {"rules": [rule(user_agent="x", action="refuse")]}, "belong to the action", id="refused at a rate"
        ),
        pytest.param({"rules": [rule(user_agent="*" * 9)]}, "8 stars", id="too many stars"),
        pytest.param({"rules": [rule(user_agent="x" * 257)]}, "256 characters", id="a long pattern"),
        pytest.param({"rules": [rule(user_agent="x", dry_run="yes")]}, "bool", id="a word for a flag"),
        pytest.param(
            {"rules": [rule(f"r{n}", user_agent="x") for n in range(MOST_RULES + 1)]}, "at most 100", id="too many"
        ),
        pytest.param(
            {"rules": [rule(networks=[str(ipaddress.ip_address(n)) for n in range(10_001)])]},
            "10,000 networks",
            id="too many networks",
        ),
    ],
)
def test_rules_that_make_no_sense_are_refused_with_a_sentence(value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RuleSet.from_value(value)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["rules", "name", "match", "action", "burst", "networks"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json)
def test_whatever_control_says_is_read_or_refused(value: Any) -> None:
    with suppress(ValueError):
        known = RuleSet.from_value(value)
        assert RuleSet.from_value(known.to_value()).rules == known.rules


globs = st.text(alphabet="ab*?.[(", max_size=10).filter(lambda text: text.count("*") <= 8)


@given(globs, st.text(alphabet="abAB.[(\n", max_size=12))
def test_a_pattern_fits_what_a_shell_would_say(glob: str, agent: str) -> None:
    shell = re.compile(fnmatch.translate(glob.replace("[", "[[]").lower()), re.DOTALL)
    assert bool(rules(rule(user_agent=glob)).of("10.0.0.1", agent)) == bool(shell.match(agent.lower()))


@given(st.text())
def test_any_agent_is_judged(agent: str) -> None:
    rules(rule(user_agent="*a*b*c*"), rule("s", user_agent="?")).of("10.0.0.1", agent)


def test_an_agent_made_to_be_slow_is_not() -> None:
    """CPU of this thread: each part of a pattern is looked for once."""
    known = rules(rule(user_agent="*a*a*a*a*a*a*a*b"))
    began = time.thread_time()
    assert known.of("10.0.0.1", "a" * 100_000) == []
    assert time.thread_time() - began < 1.0


def test_the_memory_of_agents_has_a_bound() -> None:
    known = rules(rule(user_agent="x*"))
    for n in range(3 * AGENTS_KEPT):
        assert names(known.of("10.0.0.1", f"x{n}")) == ["r"]
    assert len(known._known_agents) == AGENTS_KEPT
    assert names(known.of("10.0.0.1", "x0")) == ["r"]
