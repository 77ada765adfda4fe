"""Live broadcasts: one push for whoever is connected here and subscribed to a topic, or connected at all.

A cast is encoded once for each codec and written in slices, so that nothing else waits: after each slice the loop has a turn, and several
casts take turns too, so that a large one holds up no small one. Who subscribes while a cast is written is not looked at any more, who
unsubscribes or leaves is passed over. All nodes together keep to a rate of sessions a second, by a bucket that they share.

A node remembers the casts that it took, so that each is written once however often it comes, and counts what became of them.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog

from push_core.clock import Clock, WallMs
from push_core.limits.port import Ask
from push_core.limits.shared import SharedBuckets
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.rpc.port import Cast, Stage, Taking, Tally
from push_gateway.counters import Counters
from push_gateway.prepared import PreparedPush
from push_gateway.registry import Registry
from push_gateway.settings import GatewaySettings
from push_gateway.topics import Topic, Topics

if TYPE_CHECKING:
    from push_gateway.connection import Connection

log = structlog.get_logger(__name__)

RATE_KEY = "broadcast.rate"  # of control: sessions a second, all nodes together; 0: no limit
BUCKET = "broadcast"
LOOK_EVERY = 16  # sessions between two looks at the clock: some 0.1 ms
AT_A_TIME = 8  # casts that take turns; each keeps a list of its sessions
TOKENS_S = 0.05  # tokens are taken for so long a time, so that nodes share them by turns
SHORTEST_SLICE = 0.1  # of the usual one: a broadcast goes on, however busy the loop is
LONGEST_WAIT_S = 1.0  # for tokens: then it is looked whether rate or time have changed


class _Known:
    """A cast that this node took."""

    __slots__ = ("acked", "began", "expires", "full", "refused", "stage", "written")

    def __init__(self, expires: WallMs, began: float) -> None:
        self.expires = expires
        self.began = began
        self.stage = Stage.TAKEN
        self.written = self.full = self.acked = self.refused = 0

    @property
    def tally(self) -> Tally:
        return Tally(self.stage, self.written, self.full, self.acked, self.refused)


class _FanOut:
    """One cast under way: its sessions as they were when its turn came, and how far it is."""

    __slots__ = ("at", "cast", "known", "prepared", "sessions", "topic")

    def __init__(self, cast: Cast, known: _Known, topic: Topic | None, sessions: "list[Connection]") -> None:
        self.cast = cast
        self.known = known
        self.topic = topic
        self.sessions = sessions
        self.prepared = PreparedPush(cast.push, again=cast.again, via_vendor=False)
        self.at = 0


class Broadcasts:
    """`value` reads control. `broadcasts_waiting` casts wait at most, `broadcasts_kept` are remembered; beyond either one more is BUSY."""

    def __init__(
        self,
        registry: Registry,
        topics: Topics,
        buckets: SharedBuckets,
        counters: Counters,
        metrics: Metrics,
        settings: GatewaySettings,
        clock: Clock,
        value: Callable[[str, Any], Any],
        *,
        ticks: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`ticks` are seconds by which slices are measured."""
        self._registry = registry
        self._topics = topics
        self._buckets = buckets
        self._counters = counters
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._value = value
        self._ticks = ticks
        self._sleep = sleep
        self._known: OrderedDict[int, _Known] = OrderedDict()  # oldest first
        self._waiting: deque[tuple[Cast, _Known]] = deque()
        self._turns: deque[_FanOut] = deque()
        self._tokens = 0.0
        self._slice_ended: float | None = None  # by `ticks`; None: nothing was written in the turn before
        self._wake = asyncio.Event()

    def __contains__(self, message_id: int) -> bool:
        """Whether it is a cast that this node remembers."""
        return message_id in self._known

    def take(self, cast: Cast) -> Tally:
        known = self._known.get(cast.id)
        if known is not None:
            return known.tally
        wall = self._clock.wall_ms()
        if wall >= cast.expires:
            return self._not_taken(Stage.LATE)
        self._forget(wall)
        settings = self._settings
        if len(self._waiting) >= settings.broadcasts_waiting or len(self._known) >= settings.broadcasts_kept:
            return self._not_taken(Stage.BUSY)
        known = self._known[cast.id] = _Known(cast.expires, self._clock.monotonic())
        self._waiting.append((cast, known))
        self._wake.set()
        return known.tally

    def acked(self, message_id: int, status: str) -> None:
        """A session that it was written to acked it, for the first time."""
        known = self._known.get(message_id)
        if known is None:
            return
        if status in ("dropped", "undecodable"):
            known.refused += 1
        else:
            known.acked += 1

    async def run(self) -> None:
        """Write what was taken; one turn of a cast, again and again, for ever."""
        if not self._turns and not self._waiting:
            self._wake.clear()
            self._slice_ended = None
            await self._wake.wait()
        while self._waiting and len(self._turns) < AT_A_TIME:
            self._turns.append(self._begun(*self._waiting.popleft()))
        await self._get_tokens()
        fan_out = self._turns.popleft()
        over = True
        try:
            over = self._slice(fan_out)
        except Exception:  # the supervised edge: one cast's fault must not cost the others theirs
            log.exception("a broadcast could not be written", id=fan_out.cast.id, app=fan_out.cast.app)
            self._metrics.count(Metric.TASK_ERRORS, task="gateway.broadcasts")
        if over:
            self._end(fan_out.known)
        else:
            self._turns.append(fan_out)
        await asyncio.sleep(0)

    async def close(self) -> None:
        await self._buckets.close()

    # ── a turn ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begun(self, cast: Cast, known: _Known) -> _FanOut:
        if cast.topic is None:
            return _FanOut(cast, known, None, list(self._registry.signed.values()))
        topic = self._topics.find(cast.app, cast.topic)
        return _FanOut(cast, known, topic, topic.sessions() if topic is not None else [])

    def _slice(self, fan_out: _FanOut) -> bool:
        """Whether the cast is over."""
        cast, known, topic, prepared = fan_out.cast, fan_out.known, fan_out.topic, fan_out.prepared
        sessions, at, app = fan_out.sessions, fan_out.at, cast.app
        now, wall = self._clock.monotonic(), self._clock.wall_ms()
        until = now + (cast.expires - wall) / 1_000
        if wall >= cast.expires:
            self._counters.add(Metric.GW_BROADCAST_SESSIONS, "late", len(sessions) - at)
            return True
        end = self._slice_end()
        limited = self._rate > 0
        most = int(self._tokens) if limited else len(sessions)
        written = full = gone = 0
        while at < len(sessions) and most > 0:
            several = sessions[at : at + min(LOOK_EVERY, most)]
            at += len(several)
            for session in several:
                if session.key[0] != app if topic is None else session not in topic:
                    continue
                taking = session.offer_live(cast.id, prepared, until, now)
                if taking is Taking.ACCEPTED:
                    written += 1
                    most -= 1
                elif taking is Taking.FULL:
                    full += 1
                else:
                    gone += 1
            if self._ticks() >= end:
                break
        self._slice_ended = self._ticks()
        fan_out.at = at
        if limited:
            self._tokens -= written
        known.written += written
        known.full += full
        for outcome, n in (("written", written), ("full", full), ("gone", gone)):
            if n:
                self._counters.add(Metric.GW_BROADCAST_SESSIONS, outcome, n)
        return at >= len(sessions)

    def _slice_end(self) -> float:
        """When this slice is to end. What the loop did since the last one (system calls behind our writes, acks, everybody else's business) has its part
        of a turn: the more that was, the shorter a slice, so that the turn as a whole stays short."""
        now, usual = self._ticks(), self._settings.broadcast_slice_s
        if self._slice_ended is None:
            return now + usual
        others = now - self._slice_ended
        return now + min(usual, max(self._settings.broadcast_turn_s - others, usual * SHORTEST_SLICE))

    def _end(self, known: _Known) -> None:
        known.stage = Stage.DONE
        self._counters.add(Metric.GW_BROADCASTS, "done")
        self._metrics.timing(Metric.GW_BROADCAST_SECONDS, self._clock.monotonic() - known.began)

    def _not_taken(self, stage: Stage) -> Tally:
        self._counters.add(Metric.GW_BROADCASTS, stage.name.lower())
        return Tally(stage)

    def _forget(self, wall: WallMs) -> None:
        """At the bound, those that are over. One that may still come again is kept: forgotten, it would be written twice."""
        while len(self._known) >= self._settings.broadcasts_kept:
            oldest = next(iter(self._known))
            known = self._known[oldest]
            if known.stage is not Stage.DONE or wall < known.expires:
                return
            del self._known[oldest]

    # ── the rate of all nodes ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _rate(self) -> float:
        """Sessions a second; 0: no limit. What control says makes no sense counts as not said."""
        said = self._value(RATE_KEY, None)
        if isinstance(said, int | float) and not isinstance(said, bool) and said >= 0:
            return float(said)
        return self._settings.broadcast_rate

    async def _get_tokens(self) -> None:
        """Returns when there is one at least, or when the rate or a cast's time may have changed meanwhile."""
        rate = self._rate
        if not rate or self._tokens >= 1:
            return
        ask = Ask(BUCKET, max(1.0, rate * TOKENS_S), rate, max(1.0, rate * TOKENS_S))
        wait = await self._buckets.take(ask)
        if not wait:
            self._tokens += ask.n
        else:
            self._slice_ended = None
            await self._sleep(min(wait, LONGEST_WAIT_S))
