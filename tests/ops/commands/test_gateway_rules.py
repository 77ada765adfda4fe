"""`taco gateway rules`: what it writes, what it refuses, and that a new rule is on trial."""

import json
from pathlib import Path
from typing import Any

import pytest

from ops.commands.gateway_rules import add, dry_run, enforce, remove, set_rules, show, try_rules
from ops.commands.output import CommandFailed
from push_gateway.guard.rules import CONTROL_KEY, RuleSet
from tests.ops.commands.test_zones import dsn, read, shown

__all__ = ["dsn"]  # a fixture


def held(dsn: str) -> RuleSet:
    entry = read(dsn, CONTROL_KEY)
    assert entry is not None
    return RuleSet.from_value(entry.value)


def test_a_rule_is_added_on_trial_enforced_and_removed(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    add("scripts", user_agent="okhttp/3*", limit=5.0, burst=20.0, per_address=True, devices=dsn)
    assert "would take 5 a second, 20 at once of each address" in " ".join(capsys.readouterr().out.split())
    (rule,) = held(dsn).rules
    assert (rule.name, rule.sign_ins_per_s, rule.burst, rule.per, rule.dry_run) == (
        "scripts",
        5.0,
        20.0,
        "address",
        True,
    )
    enforce("scripts", devices=dsn)
    assert not held(dsn).rules[0].dry_run
    dry_run("scripts", devices=dsn)
    assert held(dsn).rules[0].dry_run
    remove("scripts", devices=dsn)
    assert held(dsn).rules == ()


def test_what_a_request_would_meet_is_shown(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    add("net", network=["203.0.113.0/24"], refuse=True, devices=dsn)
    add("agent", user_agent="curl/*", limit=1.0, devices=dsn)
    for address, agent, names in (("203.0.113.9", "x", ["net"]), ("::ffff:203.0.113.9", "curl/8", ["net", "agent"])):
        try_rules(address, user_agent=agent, devices=dsn, as_json=True)
        assert [rule["name"] for rule in shown(capsys)["rules"]] == names
    with pytest.raises(CommandFailed, match="'here' is not an address"):
        try_rules("here", devices=dsn)


def test_what_show_prints_can_be_set(dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add("net", network=["203.0.113.0/24"], refuse=True, devices=dsn)
    capsys.readouterr()
    show(devices=dsn, as_json=True)
    file = tmp_path / "rules.json"
    file.write_text(capsys.readouterr().out)
    before = held(dsn).rules
    set_rules(str(file), devices=dsn)
    assert held(dsn).rules == before


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"user_agent": "x"}, "one of --limit RATE and --refuse"),
        ({"user_agent": "x", "limit": 1.0, "refuse": True}, "one of --limit RATE and --refuse"),
        ({"limit": 1.0}, "name networks, a user_agent or both"),
        ({"network": ["10.0.0.1/8"], "refuse": True}, "the network is 10.0.0.0/8"),
        ({"user_agent": "x", "limit": 0.0}, "above 0"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_nothing_is_changed(
    dsn: str, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(CommandFailed, match=sentence):
        add("r", devices=dsn, **fields)
    assert read(dsn, CONTROL_KEY) is None


def test_files_that_can_not_be_read_are_refused(dsn: str, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot be read"):
        set_rules(str(tmp_path / "none.json"), devices=dsn)
    for text, sentence in (("{", "not JSON"), (json.dumps({"rules": [{}]}), "missing required field `name`")):
        (tmp_path / "rules.json").write_text(text)
        with pytest.raises(CommandFailed, match=sentence):
            set_rules(str(tmp_path / "rules.json"), devices=dsn)


def test_nobodys_change_is_overwritten_unseen(dsn: str) -> None:
    add("a", user_agent="x", limit=1.0, devices=dsn)
    with pytest.raises(CommandFailed, match=r"version 1 of gateway\.rules, not 7"):
        remove("a", expect=7, devices=dsn)
    with pytest.raises(CommandFailed, match="there is no rule b"):
        remove("b", devices=dsn)
    with pytest.raises(CommandFailed, match="used twice"):
        add("a", user_agent="x", limit=1.0, devices=dsn)
