"""Sign-in, many devices at a time: token → device record → presence → inbox → welcome.

Nothing is written anywhere before the token is verified. A device is known to this node before presence names it, and its inbox is
read after: what is stored for it meanwhile is found by this reading or by the poke that follows.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from push_core.batching import Batcher
from push_core.cache import Cache
from push_core.clock import Clock
from push_core.devices.port import Devices
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.messages.port import InboxPage
from push_core.metrics.catalogue import Metric
from push_core.models import DeviceKey
from push_core.presence.port import Presence, Route, Verdict
from push_core.rpc.port import Kick
from push_gateway.admission import Admission, Refusal
from push_gateway.connection import Connection
from push_gateway.counters import Counters
from push_gateway.drains import Drains
from push_gateway.kicks import Kicks
from push_gateway.registry import Registry
from push_gateway.settings import GatewaySettings
from push_gateway.sign_out import SignOuts
from push_gateway.tokens import AppKeys, Grant
from push_gateway.topics import Topics
from sdk_proto.wire.close import CloseCode
from sdk_proto.wire.frames import Hello

log = structlog.get_logger(__name__)
T = TypeVar("T")
AGES = 0.9, 1.1  # of the maximum age: devices that came together do not go together


_NOTHING = Grant(0, ())


@dataclass(slots=True)
class _Guest:
    """One connection on its way in. `ticket` is admission's; `topics` are those that the server side has subscribed the device to."""

    connection: Connection
    hello: Hello
    ticket: int = 0
    grant: Grant = _NOTHING
    topics: Sequence[str] = ()

    @property
    def key(self) -> DeviceKey:
        return self.hello.app, self.hello.device


class SignIns:
    def __init__(
        self,
        devices: Devices,
        presence: Presence,
        *,
        admission: Admission,
        registry: Registry,
        drains: Drains,
        kicks: Kicks,
        sign_outs: SignOuts,
        topics: Topics,
        counters: Counters,
        settings: GatewaySettings,
        clock: Clock,
        incarnation: str,
    ) -> None:
        self._devices = devices
        self._presence = presence
        self._admission = admission
        self._registry = registry
        self._drains = drains
        self._kicks = kicks
        self._sign_outs = sign_outs
        self._topics = topics
        self._counters = counters
        self._settings = settings
        self._clock = clock
        self._incarnation = incarnation
        self._apps: Cache[str, AppKeys] = Cache(
            self._load_apps,
            ttl_s=settings.app_cache_s,
            size=settings.app_cache_size,
            name="gateway.apps",
            monotonic=clock.monotonic,
        )
        self._batches: Batcher[_Guest, None] = Batcher(
            self._sign_in,
            largest=settings.sign_in_batch,
            parallel=settings.sign_in_parallel,
            bound=settings.sign_in_bound,
            name="gateway.sign_ins",
        )

    def submit(self, connection: Connection, hello: Hello) -> bool:
        """Begin; the connection hears the outcome by `signed_in` or `close`. False at the bound."""
        guest = _Guest(connection, hello)
        try:
            self._batches.submit(guest)
        except Unavailable:
            return False
        guest.ticket = self._admission.began()
        return True

    async def close(self) -> None:
        await self._batches.close()
        await self._apps.close()

    async def _sign_in(self, guests: Sequence[_Guest]) -> Sequence[None]:
        try:
            await self._unblocked(await self._verified(guests))
        except Unavailable as error:
            log.warning("devices could not be signed in", count=len(guests), error=error.message)
            self._turn_away(guests)
        except Exception:  # the supervised edge: nobody reads what a batch raises, and its devices wait
            log.exception("a batch of sign-ins failed", count=len(guests))
            self._turn_away(guests)
        finally:
            for guest in guests:
                self._admission.ended(guest.ticket, well=guest.connection.is_signed)
        return [None] * len(guests)

    def _turn_away(self, guests: Sequence[_Guest]) -> None:
        for guest in guests:
            if guest.connection.is_joining:
                self._counters.add(Metric.GW_SIGN_INS, "failed")
                guest.connection.close(CloseCode.INTERNAL_ERROR, "a store can't be reached")
                if guest.connection.epoch:  # presence may have been told
                    self._sign_outs.add(guest.connection.route)

    # ── the steps, each for those that are left ───────────────────────────────────────────────────────────────────────

    async def _verified(self, guests: Sequence[_Guest]) -> list[_Guest]:
        apps = await self._in_time(self._apps.get_many([guest.hello.app for guest in guests]), "the device store")
        now_s = self._clock.wall_ms() / 1_000
        verified: list[_Guest] = []
        for guest, app in zip(guests, apps, strict=True):
            if not guest.connection.is_open:
                continue
            grant = None if app is None else app.verify(guest.hello.token, guest.hello.device, now_s=now_s)
            if app is None or grant is None:
                self._refuse(guest, "token_refused", CloseCode.TOKEN_REFUSED, "the token was refused")
            elif app.disabled:
                self._refuse(guest, "app_disabled", CloseCode.APP_DISABLED, "the app is disabled")
            elif refusal := self._admission.rest(guest.key):
                self._turn_back(guest, "flapping", refusal)
            elif refusal := self._admission.app_refusal(guest.key, app.sessions):
                self._turn_back(guest, "app_full", refusal)
            else:
                guest.grant = grant
                verified.append(guest)
        return verified

    async def _unblocked(self, guests: Sequence[_Guest]) -> None:
        if not guests:
            return
        records = await self._in_time(self._devices.get([guest.key for guest in guests]), "the device store")
        entering: list[_Guest] = []
        for guest, record in zip(guests, records, strict=True):
            if not guest.connection.is_open:
                continue
            if record is not None and record.blocked:
                self._refuse(guest, "blocked", CloseCode.DEVICE_BLOCKED, "the device is blocked")
                continue
            if record is not None:
                guest.topics = record.topics
            hello = guest.hello
            guest.connection.identify(
                guest.key, install=hello.install or "", attempt=hello.attempt or 0, since=self._clock.wall_ms()
            )
            entering.append(guest)
        if entering:
            await self._present(entering)

    async def _present(self, guests: Sequence[_Guest]) -> None:
        routes = [guest.connection.route for guest in guests]
        answers = await self._in_time(self._presence.sign_in(routes), "presence")
        won: list[tuple[_Guest, Route]] = []
        for guest, route, answer in zip(guests, routes, answers, strict=True):
            if answer.verdict is Verdict.SUPERSEDED:
                self._refuse(guest, "superseded", CloseCode.SUPERSEDED, "a newer connection of this installation lives")
                continue
            self._replace(guest.connection, route, answer.old)
            won.append((guest, route))
        staying: list[_Guest] = []
        for guest, route in won:
            if guest.connection.is_open:
                staying.append(guest)
            else:  # it ended meanwhile, or was replaced within this very batch
                self._sign_outs.add(route)
        if staying:
            await self._welcome(staying)

    def _replace(self, connection: Connection, route: Route, old: Route | None) -> None:
        """End the connection that had the device before, wherever it is."""
        if old is not None and old.incarnation == self._incarnation:
            self._end(self._registry.find(connection.key, old.epoch), connection, route)
        elif old is not None:
            code, reason = _why(old.install, route.install)
            self._kicks.add(Kick(route.app, route.device, old.epoch, code, reason, old.incarnation))
        if connection.is_open:  # if not, a later one has the device by now
            forgotten_by_presence = self._registry.signed.get(connection.key)
            self._end(forgotten_by_presence, connection, route)

    def _end(self, loser: Connection | None, winner: Connection, route: Route) -> None:
        if loser is not None and loser is not winner:
            code, reason = _why(loser.install, route.install)
            loser.close(code, reason, sign_out=False)

    async def _welcome(self, guests: Sequence[_Guest]) -> None:
        pages: Sequence[InboxPage | None]
        try:
            pages = await self._drains.read([guest.connection for guest in guests])
        except Unavailable as error:
            log.warning("inboxes could not be read at sign-in; trying again", count=len(guests), error=error.message)
            pages = [None] * len(guests)
        now, now_s = self._clock.monotonic(), self._clock.wall_ms() / 1_000
        for guest, page in zip(guests, pages, strict=True):
            connection = guest.connection
            if not connection.is_open:
                self._sign_outs.add(connection.route)
                continue
            spread_s = random.uniform(0, self._settings.token_spread_s)  # noqa: S311 - spreads load
            age_s = (self._settings.max_age_s or math.inf) * random.uniform(*AGES)  # noqa: S311 - the same
            self._counters.add(Metric.GW_SIGN_INS, "welcome")
            if guest.grant.topics or guest.topics:  # before what came with its hello is looked at
                self._topics.admit(connection, guest.grant.topics, guest.topics)
            connection.signed_in(
                ends_at=now + guest.grant.expires_s - now_s + spread_s,
                ages_at=now + age_s,
                pending=page.waiting if page is not None else 0,
            )
            if page is not None:
                self._drains.take(connection, page)

    # ── neighbours ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _refuse(self, guest: _Guest, outcome: str, code: CloseCode, reason: str) -> None:
        self._counters.add(Metric.GW_SIGN_INS, outcome)
        guest.connection.close(code, reason, sign_out=False)

    def _turn_back(self, guest: _Guest, outcome: str, refusal: Refusal) -> None:
        self._counters.add(Metric.GW_SIGN_INS, outcome)
        guest.connection.close(
            CloseCode.OVERLOADED, refusal.reason, retry_after_ms=refusal.retry_after_ms, sign_out=False
        )

    async def _load_apps(self, names: Sequence[str]) -> Sequence[AppKeys | None]:
        apps = await self._in_time(self._devices.apps(names), "the device store")
        return [AppKeys.of(app) if app is not None else None for app in apps]

    async def _in_time(self, call: Awaitable[T], whom: str) -> T:
        try:
            async with asyncio.timeout(self._settings.store_timeout_s):
                return await call
        except TimeoutError:
            raise DeadlineExceeded(f"{whom} did not answer in time") from None


def _why(loser: str, winner: str) -> tuple[int, str]:
    """What the loser of a device is told, by the installs of both (PROTOCOL.md §5, "One live connection a device")."""
    if loser and loser == winner:
        return CloseCode.SUPERSEDED, "a newer connection of this installation"
    return CloseCode.REPLACED, "another installation signed in"
