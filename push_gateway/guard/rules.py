"""Rules on addresses and user agents, as they stand in control under `gateway.rules`: read, checked, and found for a request. Pure.

    {"rules": [{"name": "scripts", "match": {"user_agent": "python-requests/*"}, "action": "refuse", "dry_run": true},
               {"name": "one-net", "match": {"networks": ["203.0.113.0/24"]}, "sign_ins_per_s": 5, "burst": 20, "per": "address"}]}

All rules that fit a request apply. A rule on trial (`dry_run`) does all that it would do, and only counts it.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from push_gateway.guard.addresses import Prefixes

CONTROL_KEY = "gateway.rules"
MOST_RULES = 100
MOST_NETWORKS = 10_000  # of all rules together
MOST_RATE = 100_000.0
LONGEST_AGENT = 256  # of a pattern
MOST_STARS = 8
AGENT_READ = 512  # characters of a request's user agent that are looked at
AGENTS_KEPT = (
    1_024  # user agents whose rules are remembered; the oldest is forgotten, and looked at again when it comes
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a request must be, all of it. `user_agent` is compared whole and without regard to case; `*` stands for anything, `?` for one
    character; "" is a request without one."""

    networks: tuple[str, ...] = ()
    user_agent: str | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """`limit`: so many sign-ins a second of this node, of all that fit together or `per` address; `refuse`: none, and no upgrade either."""

    name: str
    match: Match
    action: Literal["limit", "refuse"] = "limit"
    sign_ins_per_s: float = 0.0
    burst: float = 0.0  # at once; 0: as many as in a second
    per: Literal["rule", "address"] = "rule"
    dry_run: bool = False
    note: str = ""


class _Value(msgspec.Struct, forbid_unknown_fields=True):
    rules: tuple[Rule, ...] = ()


class RuleSet:
    """Rules that make sense together. Raises ValueError with a sentence for those that don't."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        if len(rules) > MOST_RULES:
            raise ValueError(f"rules: at most {MOST_RULES}, got {len(rules)}; join their networks into fewer")
        networks = sum(len(rule.match.networks) for rule in rules)
        if networks > MOST_NETWORKS:
            raise ValueError(f"rules: at most {MOST_NETWORKS:,} networks in all, got {networks:,}")
        self.rules = tuple(rules)
        self._all = (1 << len(rules)) - 1
        self._by_network = Prefixes()
        self._with_networks = 0
        self._agents: list[tuple[int, re.Pattern[str]]] = []
        self._with_agent = 0
        self._known_agents: dict[str, int] = {}
        names: set[str] = set()
        for place, rule in enumerate(rules):
            _check(rule, names)
            bit = 1 << place
            for network in rule.match.networks:
                try:
                    self._by_network.add(network, bit)
                except ValueError as error:
                    raise ValueError(f"rule {rule.name}: match.networks: {error}") from None
                self._with_networks |= bit
            if rule.match.user_agent is not None:
                self._agents.append((bit, _pattern(rule.match.user_agent)))
                self._with_agent |= bit

    @classmethod
    def from_value(cls, value: Any) -> "RuleSet":
        """Of control's value; None is no rules. Raises ValueError with a sentence."""
        if value is None:
            return cls()
        try:
            return cls(msgspec.convert(value, _Value).rules)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None

    def to_value(self) -> Any:
        return {"rules": msgspec.to_builtins(self.rules)}

    def of(self, address: str, user_agent: str) -> list[Rule]:
        """Those that fit, in order."""
        fitting = self._all
        if self._with_networks:
            fitting &= self._by_network.of(address) | ~self._with_networks
        if fitting & self._with_agent:
            fitting &= self._of_agent(user_agent[:AGENT_READ].lower()) | ~self._with_agent
        found = []
        while fitting:
            lowest = fitting & -fitting
            found.append(self.rules[lowest.bit_length() - 1])
            fitting ^= lowest
        return found

    def _of_agent(self, agent: str) -> int:
        known = self._known_agents
        bits = known.get(agent)
        if bits is None:
            bits = 0
            for bit, pattern in self._agents:
                if pattern.fullmatch(agent):
                    bits |= bit
            if len(known) >= AGENTS_KEPT:
                del known[next(iter(known))]
            known[agent] = bits
        return bits


def _check(rule: Rule, names: set[str]) -> None:
    name = rule.name
    if not _NAME.fullmatch(name):
        raise ValueError(f"rule {name[:60]!r}: name: 1 to 40 of a-z, 0-9, - _ . beginning with a letter or digit")
    if name in names:
        raise ValueError(f"rule {name}: name: used twice")
    names.add(name)
    agent = rule.match.user_agent
    if not rule.match.networks and agent is None:
        raise ValueError(
            f"rule {name}: match: name networks, a user_agent or both; what holds for everybody is a setting ([gateway] sign_ins, address_sign_ins)"
        )
    if agent is not None and (len(agent) > LONGEST_AGENT or agent.count("*") > MOST_STARS):
        raise ValueError(f"rule {name}: match.user_agent: at most {LONGEST_AGENT} characters and {MOST_STARS} stars")
    if len(rule.note) > 200:
        raise ValueError(f"rule {name}: note: at most 200 characters")
    if rule.action == "refuse":
        if rule.sign_ins_per_s or rule.burst:
            raise ValueError(f'rule {name}: sign_ins_per_s and burst belong to the action "limit"')
    elif not 0 < rule.sign_ins_per_s <= MOST_RATE:
        raise ValueError(
            f'rule {name}: sign_ins_per_s: above 0 and at most {MOST_RATE:,.0f} (none at all: "action": "refuse")'
        )
    elif not (rule.burst == 0 or 1 <= rule.burst <= MOST_RATE):
        raise ValueError(f"rule {name}: burst: 1 to {MOST_RATE:,.0f}, or 0 for as many as in a second")


def _pattern(glob: str) -> re.Pattern[str]:
    """Each part between two stars is found at its first place and not looked for again, so that no agent takes longer than its length times
    that of the pattern."""
    parts = [re.escape(part).replace(r"\?", ".") for part in re.sub(r"\*+", "*", glob.lower()).split("*")]
    first, *middle, last = parts if len(parts) > 1 else (parts[0], "")
    if len(parts) == 1:
        return re.compile(first, re.DOTALL)
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}", re.DOTALL)
