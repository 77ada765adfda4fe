"""A device that stays connected: dials, signs in, reconnects as the close codes order, hands each push to the application once and
acks it. What to do is decided by the pure parts beside this file; here are the one timer and the sockets.

Everything runs on the event loop that `start` was called on; no method is to be called from another thread.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

from sdk_proto.python.acks import Acks
from sdk_proto.python.adaptive import AdaptiveHeartbeat
from sdk_proto.python.addresses import Addresses
from sdk_proto.python.backoff import Backoff
from sdk_proto.python.callbacks import Callbacks
from sdk_proto.python.delivery import Delivery, PushHandler
from sdk_proto.python.greeting import Greeting
from sdk_proto.python.link import Link
from sdk_proto.python.options import SDK, Options
from sdk_proto.python.remember import Remember
from sdk_proto.python.seen import Seen
from sdk_proto.python.session import Event, Failed, Session
from sdk_proto.python.status import Problem, Status
from sdk_proto.python.store import open_store
from sdk_proto.python.tokens import Tokens
from sdk_proto.python.topics import Topics
from sdk_proto.python.transport import Target, Transport
from sdk_proto.wire.close import CloseCode, Order, order_of
from sdk_proto.wire.frames import (
    APP_STATES,
    MAX_ID,
    Bye,
    Config,
    Error,
    Migrate,
    Push,
    Recall,
    Subscribe,
    Undecodable,
    Unsubscribe,
    Welcome,
)

STABLE_S = (
    10.0  # a connection that lived this long has shown that the address works: the next backoff starts small again
)


class Client:
    """A push client. `async with` starts and stops it; `stopped()` waits until the server or the application ended it.

    `on_push` gets every push once: its id is remembered when it has returned, and then it is acked. It may be a coroutine function
    or a plain function, which runs in a thread. The other callbacks are plain functions, called on the event loop; they return soon.
    """

    def __init__(
        self,
        options: Options,
        on_push: PushHandler,
        *,
        on_recall: Callable[[int], object] | None = None,
        on_status: Callable[[Status], object] | None = None,
        on_config: Callable[[Config], object] | None = None,
        on_problem: Callable[[Problem], object] | None = None,
        source: Callable[[], float] = random.random,
    ) -> None:
        """`source` gives the numbers in [0, 1) that jitter is made of. Raises ValueError for addresses that can't be used."""
        self._options = options
        self._codec = options.codec
        self._source = source
        self._on_recall = on_recall
        self._on_status = on_status
        self._on_config = on_config
        callbacks = Callbacks(on_problem)
        self._call, self._tell = callbacks.call, callbacks.tell
        self._addresses = Addresses(options.urls)
        self._tokens = Tokens(options.token)
        self._backoff = Backoff(source)
        self._acks = Acks()
        self._topics = Topics()
        self._seen = Seen()
        self._store = open_store(options.store)
        self._remember = Remember(
            self._store, options.app, options.device, self._seen, lambda error: self._tell(Problem("store", error))
        )
        self._delivery = Delivery(
            on_push,
            seen=self._seen,
            remember=self._remember,
            settle=self._ack,
            report=lambda error, message_id: self._tell(Problem("handler", error, message_id)),
            concurrency=options.concurrency,
            timeout_s=options.handler_timeout_s,
            tries=options.handler_tries,
        )
        self._greeting = Greeting(
            options, self._tokens, self._remember, lambda error: self._tell(Problem("store", error))
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._current: Link | None = None  # the welcomed connection
        self._candidate: Link | None = None  # not welcomed yet; beside a current one during a migration
        self._gone: set[Transport] = set()  # let go, still closing
        self._dialling: asyncio.Task[None] | None = None
        self._dial_at: float | None = None
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._server_ahead_ms: int | None = None
        self._stopping = False
        self._ended = asyncio.Event()
        self._status = Status()

    @property
    def status(self) -> Status:
        return self._status

    # ── what the application calls ────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Connect, and stay connected. Returns once what an earlier run remembered is read. A client is started once."""
        if self._loop is not None:
            raise RuntimeError("a client is started once")
        self._loop = asyncio.get_running_loop()
        self._show(Status("connecting"))
        await self._remember.load()
        self._greeting.adaptive = AdaptiveHeartbeat(await self._remember.heartbeats())
        if not self._stopping:
            self._dial()

    async def stop(self) -> None:
        """Disconnect and stay so. Handlers that run get `stop_grace_s`; their acks are sent, and the store is closed."""
        self._stopping = True
        await self._delivery.drain(self._options.stop_grace_s)
        if not self._ended.is_set():
            if self._current is not None:
                self._current.session.flush()
            self._pump()
            self._end()
            self._show(Status("offline"))
        await asyncio.gather(*[transport.wait_closed() for transport in self._gone])
        await self._remember.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stopped(self) -> Status:
        """Wait until the client has ended: by the server's order (state `stopped`) or by `stop` (state `offline`)."""
        await self._ended.wait()
        return self._status

    def displayed(self, message_id: int) -> None:
        """Report that the notification was shown."""
        self._ack(message_id, "displayed")

    def clicked(self, message_id: int) -> None:
        """Report that the user opened it."""
        self._ack(message_id, "clicked")

    def set_state(self, state: str) -> None:
        """Tell the server that the application went to the `foreground` or `background`."""
        if state not in APP_STATES:
            raise ValueError(f"state: not one of {', '.join(APP_STATES)}")
        self._greeting.state = state
        for link in self._links():
            link.session.set_state(state, self._now())
        self._pump()

    def set_heartbeat(self, seconds: int) -> None:
        """Wish a number of seconds between pings, within the server's bounds, instead of the one that is learned."""
        self._greeting.heartbeat = seconds
        for link in self._links():
            link.session.set_heartbeat(seconds, self._now())
        self._pump()

    def subscribe(self, *topics: str) -> None:
        """Have what is sent to these topics, now and on each later connection. What the server does not allow comes as a problem
        (`server`). Raises ValueError for what can't be a topic."""
        self._tell_of(self._topics.want(topics))

    def unsubscribe(self, *topics: str) -> None:
        self._tell_of(self._topics.drop(topics))

    def _tell_of(self, frames: Sequence[Subscribe | Unsubscribe]) -> None:
        for link in self._links():
            link.session.tell(frames)
        self._pump()

    def wake(self, network: str | None = None) -> None:
        """The network changed, or the machine woke up: don't wait for timers; try, or find out whether the connection lives.
        `network` is the label of the one that there is now, if it is known: `wifi`, `cellular`, … What is learned of heartbeats is learned
        for each."""
        if network is not None:
            self._greeting.network = network  # a connection stays on the network that it was made on
        now = self._now()
        if self._current is not None:
            self._current.session.ping(now)
        elif self._dial_at is not None:
            self._dial_at = min(self._dial_at, max(now, self._not_before))
        self._tick()

    # ── dialling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _dial(self) -> None:
        self._dial_at = None
        if self._dialling is not None or self._candidate is not None or self._loop is None or self._stopping:
            return
        if self._current is None and self._status.state != "connecting":
            self._show(replace(self._status, state="connecting", retry_s=None))
        self._dialling = self._loop.create_task(self._open(), name="taco-dial")

    async def _open(self) -> None:
        try:
            hello = await self._greeting.hello()
        except Exception as error:  # noqa: BLE001 - the edge to the application's token provider: it may raise whatever it likes
            self._dialling = None
            self._tell(Problem("token", error))
            self._retry(0)
            return
        self._dialling = None
        if self._ended.is_set() or self._stopping:
            return
        session = Session(
            codec=self._codec,
            hello=hello,
            seen=self._seen,
            acks=self._acks,
            now=self._now(),
            limits=self._options.limits,
            topics=self._topics,
            adaptive=self._greeting.learner,
        )
        target = Target(
            self._addresses.next, self._codec.subprotocol, self._codec.binary, f"taco-{SDK}", self._options.tls
        )
        self._candidate = Link(self, session, target)
        self._arm()

    def _retry(self, retry_after_ms: int) -> None:
        if self._stopping:
            return
        now = self._now()
        self._not_before = now + retry_after_ms / 1000
        self._dial_at = self._not_before + self._backoff.next_s()
        if self._current is None:
            self._show(replace(self._status, state="waiting", retry_s=self._dial_at - now))
        self._arm()

    # ── what the connections say ──────────────────────────────────────────────────────────────────────────────────────

    def opened(self, link: Link) -> None:
        link.session.opened(self._now())
        self._pump()

    def received(self, link: Link, message: bytes) -> None:
        self._handle(link, link.session.receive(message, self._now()))
        self._pump()

    def _handle(self, link: Link, events: list[Event]) -> None:
        for event in events:
            if link is not self._current and link is not self._candidate:
                return  # a connection that was replaced has no say, whatever comes on it
            if isinstance(event, Push):
                self._delivery.push(event, self._server_ms())
            else:
                self._on(link, event)

    def _on(self, link: Link, event: Event) -> None:
        if isinstance(event, Welcome):
            self._welcomed(link, event)
        elif isinstance(event, Recall):
            self._call(self._on_recall, event.id)
            self._delivery.recall(event.id, self._server_ms())
        elif isinstance(event, Migrate):
            self._addresses.migrate(event.urls, permanent=event.permanent)
            self._dial_at = self._now() + (event.after_ms + self._source() * event.spread_ms) / 1000
        elif isinstance(event, Bye):
            self.lost(link, event.code, event.reason, event.retry_after_ms)
        elif isinstance(event, Failed):
            self.lost(link, None, event.reason, 0)
        elif isinstance(event, Config):
            self._call(self._on_config, event)
        elif isinstance(event, Error):
            self._tell(Problem("server", event))
        elif isinstance(event, Undecodable):
            self._tell(Problem("undecodable", event.why, event.id))

    def _welcomed(self, link: Link, welcome: Welcome) -> None:
        replaced = self._current
        self._current = link
        self._candidate = None
        self._dial_at = None
        if replaced is not None:
            self._let_go(replaced)
        now = link.welcomed_at = self._now()
        self._server_ahead_ms = welcome.time - round(now * 1000)
        self._addresses.reached()
        self._backoff.configure(welcome.reconnect)
        self._show(Status("online", session=welcome.session, pending=welcome.pending))

    def lost(self, link: Link, code: int | None, reason: str, retry_after_ms: int) -> None:
        if link is not self._current and link is not self._candidate:
            return
        if code is None:
            link.session.lost(self._now())
        self._let_go(link)
        if link is self._candidate:
            self._candidate = None
            self._addresses.failed()
        else:
            self._current = None
            if link.welcomed_at is not None and self._now() - link.welcomed_at >= STABLE_S:
                self._backoff.reset()
        order = order_of(code)
        if order is Order.NEW_TOKEN and code is not None:
            self._tokens.refuse(code)
            if not self._tokens.can_renew:  # a fixed token stays refused: asking again would never end
                order = Order.STOP
        if order is Order.STOP:
            self._end()
            self._show(Status("stopped", code=code, reason=reason))
            return
        if order is Order.ELSEWHERE and self._dial_at is None:
            self._addresses.elsewhere()
        # The predecessor still serves, or the successor has been let in already and is about to hear so: both keep the status that is shown.
        if self._current is None and (self._candidate is None or code != CloseCode.SUPERSEDED):
            self._show(Status("connecting", code=code, reason=reason))
        if self._candidate is None and self._dialling is None:
            self._retry(retry_after_ms)

    def _let_go(self, link: Link) -> None:
        transport = link.transport
        transport.close()
        assert self._loop is not None
        self._gone.add(transport)
        self._loop.create_task(transport.wait_closed()).add_done_callback(lambda _: self._gone.discard(transport))

    def _end(self) -> None:
        self._dial_at = None
        if self._dialling is not None:
            self._dialling.cancel()
        for link in self._links():
            self._let_go(link)
        self._current = self._candidate = None
        self._arm()
        self._ended.set()

    # ── time and the wire ─────────────────────────────────────────────────────────────────────────────────────────────

    def _links(self) -> list[Link]:
        return [link for link in (self._current, self._candidate) if link is not None]

    def _now(self) -> float:
        return time.monotonic() if self._loop is None else self._loop.time()

    def _server_ms(self) -> int:
        """The server's clock; before any welcome our own."""
        if self._server_ahead_ms is None:
            return time.time_ns() // 1_000_000
        return round(self._now() * 1000) + self._server_ahead_ms

    def _ack(self, message_id: int, status: str) -> None:
        if not 1 <= message_id <= MAX_ID:
            raise ValueError(f"not a message id: {message_id}")
        self._acks.add(message_id, status, self._now())
        self._arm()

    def _pump(self) -> None:
        for link in self._links():
            for message in link.session.take_outgoing():
                link.transport.send(message)
        learned = self._greeting.adaptive.take_changed()
        if learned is not None:
            self._remember.keep_heartbeats(learned, self._server_ms())
        self._arm()

    def _arm(self) -> None:
        """Have `_tick` called at the earliest deadline, or earlier: a timer that is too early costs less than one that is moved
        with each push."""
        if self._loop is None:
            return
        deadlines = [link.session.deadline for link in self._links()]
        deadlines.append(None if self._ended.is_set() else self._dial_at)
        due = min((deadline for deadline in deadlines if deadline is not None), default=None)
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._now()
        for link in self._links():
            self._handle(link, link.session.tick(now))
        if self._dial_at is not None and now >= self._dial_at:
            self._dial()
        self._pump()

    # ── the application ───────────────────────────────────────────────────────────────────────────────────────────────

    def _show(self, status: Status) -> None:
        self._status = status
        self._call(self._on_status, status)
