"""Which hellos are looked at: by the node's room, by its load, by the rates of their address, of rules and of the node. Whoever is refused is told
when to come back.

Sign-ins are what a node can put off: phones come back by themselves. Acks, pushes and goodbyes of those that are in are never turned away.
"""

import math
import random
from dataclasses import dataclass

from push_core.clock import Clock
from push_core.limits.addresses import AddressLimits
from push_core.load import LoopLag
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import DeviceKey
from push_core.shedder import OTHER, Ended, Shedder, ShedderTerms
from push_gateway.guard.guard import Guard
from push_gateway.guard.rule_book import NO_LIMITS, Limits
from push_gateway.registry import Registry
from push_gateway.settings import GatewaySettings

SHED_GAP_S = 2.0  # without a refusal for so long it was another overload


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    retry_after_ms: int


class Admission:
    def __init__(
        self,
        registry: Registry,
        guard: Guard,
        lag: LoopLag,
        metrics: Metrics,
        settings: GatewaySettings,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._guard = guard
        self._shed_since = self._shed_last = float("-inf")
        self._lag = lag
        self._metrics = metrics
        self._settings = settings
        self._monotonic = clock.monotonic
        self._shedder = Shedder(
            ShedderTerms(
                lag_s=settings.shed_lag_s,
                slow_s=settings.shed_slow_s,
                serve_s=settings.shed_serve_s,
                cool_off_s=settings.shed_cool_off_s,
                least=settings.shed_least,
            )
        )
        self._addresses = AddressLimits(
            settings.address_sign_ins, settings.address_sign_ins_burst, monotonic=clock.monotonic
        )

    @property
    def asks_address(self) -> bool:
        """Whether `refusal` wants to know whose hello it is."""
        return self._settings.address_sign_ins > 0

    @property
    def overloaded(self) -> str:
        """Why new devices should rather go elsewhere; "" when they needn't."""
        if self._is_full():
            return "overloaded: no more sessions than [gateway] max_sessions"
        if self._is_short_of_memory():
            return "overloaded: memory is short"
        now, settings = self._monotonic(), self._settings
        if 0 < settings.ready_shed_s <= self._shed_last - self._shed_since and now - self._shed_last < SHED_GAP_S:
            return "overloaded: sign-ins are refused, the node is busy"
        return ""

    def refusal(self, address: str, limits: Limits = NO_LIMITS) -> Refusal | None:
        """None: come in. `limits`: those of the rules that its request met."""
        if self._is_full():
            self._metrics.count(Metric.LIMITED, limit="sessions")
            return self.full("too many sessions")
        if self._is_short_of_memory():
            self._metrics.count(Metric.SHED, place="gateway.memory", priority="other")
            return self.full("the node is short of memory")
        now = self._monotonic()
        if self._shedder.pressure(self._lag.smoothed_s, now) > OTHER:
            self._metrics.count(Metric.SHED, place="gateway", priority="other")
            if now - self._shed_last > SHED_GAP_S:
                self._shed_since = now
            self._shed_last = now
            return self.full("the node is busy")
        if self.asks_address and (wait := self._addresses.take(address)):
            return self._limited("sign_ins", "too many sign-ins from this address", wait)
        if limits and (wait := self._guard.book.wait_s(limits, address)):
            return self._limited("rules", "too many sign-ins", wait)
        if wait := self._guard.pace.take(now, random.random()):  # noqa: S311 - spreads load
            self._metrics.count(Metric.LIMITED, limit="sign_ins_of_node")
            return Refusal("too many sign-ins", math.ceil(wait * 1_000))
        return None

    def app_refusal(self, key: DeviceKey, own: int | None) -> Refusal | None:
        """Of a device that has shown its token, for the number of sessions of its app: `own`, else that of the settings. One that is here already
        is let in: it takes the place of its earlier connection."""
        most = self._settings.app_sessions if own is None else own
        registry = self._registry
        if most == 0 or registry.apps.get(key[0], 0) < most or key in registry.signed:
            return None
        self._metrics.count(Metric.LIMITED, limit="app_sessions")
        return self.full("too many sessions of this app")

    def rest(self, key: DeviceKey) -> Refusal | None:
        """Of a device that has shown its token, while it rests."""
        left_s = self._guard.flapping.left_s(key, self._monotonic())
        if not left_s:
            return None
        self._metrics.count(Metric.LIMITED, limit="flapping")
        return Refusal("its connections dropped again and again", math.ceil(left_s * 1_000))

    def _is_full(self) -> bool:
        return len(self._registry.signed) + len(self._registry.joining) >= self._settings.max_sessions

    def _is_short_of_memory(self) -> bool:
        ceiling = self._guard.room.ceiling
        return ceiling is not None and len(self._registry.signed) + len(self._registry.joining) >= ceiling

    def _limited(self, limit: str, reason: str, wait_s: float) -> Refusal:
        self._metrics.count(Metric.LIMITED, limit=limit)
        return Refusal(reason, int(wait_s * 1_000) + self._spread_ms())

    def full(self, reason: str) -> Refusal:
        return Refusal(reason, self._spread_ms())

    def began(self) -> int:
        """One more sign-in is under way; its ticket."""
        return self._shedder.began(self._monotonic())

    def ended(self, ticket: int, *, well: bool) -> None:
        self._shedder.ended(ticket, self._monotonic(), Ended.SERVED if well else Ended.FAILED)

    def _spread_ms(self) -> int:
        return random.randint(0, self._settings.overload_retry_ms)  # noqa: S311 - spreads load
