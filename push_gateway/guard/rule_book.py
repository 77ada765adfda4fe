"""The rules in force on this node: what control says, as far as it makes sense, with the buckets and counts of each rule."""

from collections.abc import Callable

import structlog

from push_core.control.port import Entry
from push_core.control.watch import ControlWatch
from push_core.limits.addresses import AddressLimits
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_gateway.guard.rules import CONTROL_KEY, Rule, RuleSet

log = structlog.get_logger(__name__)
ADDRESSES_KEPT = 20_000  # per rule; at it the one that was longest without a grant has a full bucket again


class Limit:
    """A rule of action `limit` with its buckets."""

    __slots__ = ("_buckets", "rule")

    def __init__(self, rule: Rule, monotonic: Callable[[], float]) -> None:
        self.rule = rule
        self._buckets = AddressLimits(rule.sign_ins_per_s, rule.burst, size=ADDRESSES_KEPT, monotonic=monotonic)

    def take(self, address: str) -> float:
        """Seconds to wait; 0.0: granted."""
        return self._buckets.take(address if self.rule.per == "address" else "")


Limits = tuple[Limit, ...]
NO_LIMITS: Limits = ()


class RuleBook:
    """`version` is that of the rules in force. What control says later and makes no sense is counted, and `bad` says why."""

    def __init__(self, control: ControlWatch, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self._metrics = metrics
        self._monotonic = monotonic
        self._rules = RuleSet()
        self._limits: dict[Rule, Limit] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self.version = 0
        self.bad = ""
        control.subscribe(CONTROL_KEY, self._told)

    @property
    def any(self) -> bool:
        """Whether there are rules at all: without, nobody's user agent needs to be known."""
        return bool(self._rules.rules)

    def meet(self, address: str, user_agent: str) -> Limits | None:
        """A request for an upgrade. None: refused. Else what `wait_s` is to be asked with when its device says hello."""
        if not self._rules.rules:
            return NO_LIMITS
        limits: list[Limit] = []
        refused = False
        for rule in self._rules.of(address, user_agent):
            if rule.action == "limit":
                limits.append(self._limits[rule])
                continue
            self._count(rule, "would_refuse" if rule.dry_run else "refused")
            refused = refused or not rule.dry_run
        return None if refused else tuple(limits)

    def wait_s(self, limits: Limits, address: str) -> float:
        """A sign-in: seconds to wait, 0.0 when all rules let it in."""
        longest = 0.0
        for limit in limits:
            rule, wait = limit.rule, limit.take(address)
            if not wait:
                self._count(rule, "passed")
            elif rule.dry_run:
                self._count(rule, "would_limit")
            else:
                self._count(rule, "limited")
                longest = max(longest, wait)
        return longest

    def flush(self) -> None:
        """Tell the metrics what has happened since the last time."""
        counts, self._counts = self._counts, {}
        for (name, outcome), n in counts.items():
            self._metrics.count(Metric.GW_RULES, n, rule=name, outcome=outcome)
        self._metrics.gauge(Metric.GW_RULES_VERSION, self.version)

    def _count(self, rule: Rule, outcome: str) -> None:
        series = rule.name, outcome
        self._counts[series] = self._counts.get(series, 0) + 1

    def _told(self, entry: Entry) -> None:
        try:
            rules = RuleSet.from_value(entry.value)
        except ValueError as error:
            self.bad = str(error)
            self._metrics.count(Metric.GW_RULES_BAD)
            log.warning("the rules in control are refused; those before hold", version=entry.version, error=self.bad)
            return
        before = self._limits
        self._rules, self.version, self.bad = rules, entry.version, ""
        # One that did not change keeps its buckets: a change of another rule gives nobody a new burst.
        self._limits = {
            rule: before.get(rule) or Limit(rule, self._monotonic) for rule in rules.rules if rule.action == "limit"
        }
        log.info("rules in force", version=entry.version, rules=len(rules.rules))
