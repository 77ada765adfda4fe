"""Any order of events on a real store, against a model of a page: the ledger balances, a rank never falls, nothing outlives its delivery."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from push_core.envelope import Envelope
from push_core.lifecycle import ENDS, OPEN, RANK, Reason, State, may_move
from push_core.messages.port import Applied, Change, Commit, InboxAsk, Later, Task
from push_core.messages.sql import SqlMessages
from push_core.models import Priority
from push_core.sql import inbox
from tests.contracts.messages_support import APP, NOW, OTHER, new, row

LIMIT = 3  # in place of the thousand, so that full inboxes are found
DEVICES = ("d-1", "d-2")
APPS = (APP, OTHER)
ACKS = (State.DELIVERED, State.DISPLAYED, State.CLICKED)
Key = tuple[int, str, str]  # (id, app, device)


@dataclass
class Model:
    """What should be: deliveries by key, the inbox as a set of keys, later work as a set of (key, task)."""

    state: dict[Key, State] = field(default_factory=dict)
    sent: dict[int, Envelope] = field(default_factory=dict)
    inbox: set[Key] = field(default_factory=set)
    recalls: set[Key] = field(default_factory=set)
    later: set[tuple[Key, Task]] = field(default_factory=set)
    recalled: set[int] = field(default_factory=set)

    def apply(self, change: Change) -> Applied:
        key = (change.id, change.app, change.device)
        current = self.state.get(key)
        if current is None:
            return Applied.FOREIGN
        carries = change.inbox is not None or change.later is not None
        if may_move(current, change.to):
            self.state[key] = change.to
        elif current in ENDS and change.to is not current:
            return Applied.LATE
        elif not (current is change.to and current in OPEN and carries):
            return Applied.REPEAT
        if self.state[key] not in OPEN:
            self.clear(key)
        elif carries:
            if change.later is not None:
                self.later.add((key, change.later.task))
            if change.inbox is not None:
                self.store(key)
        return Applied.MADE

    def store(self, key: Key) -> None:
        self.inbox.add(key)
        same = [k for k in self.of_device(key) if k in self.inbox and self.sent[k[0]].collapse is not None]
        same = [k for k in same if self.sent[k[0]].collapse == self.sent[key[0]].collapse]
        for displaced in sorted(same)[:-1]:
            self.end(displaced, State.UNDELIVERABLE)
        self.bound(key)

    def bound(self, key: Key) -> None:
        for oldest in sorted(self.of_device(key))[:-LIMIT]:
            self.recalls.discard(oldest)
            if oldest in self.inbox:
                self.end(oldest, State.UNDELIVERABLE)

    def of_device(self, key: Key) -> list[Key]:
        return [k for k in self.inbox | self.recalls if k[1:] == key[1:]]

    def end(self, key: Key, to: State) -> None:
        assert may_move(self.state[key], to)
        self.state[key] = to
        self.clear(key)

    def clear(self, key: Key) -> None:
        self.inbox.discard(key)
        self.later = {(k, task) for k, task in self.later if k != key}


class Ledger(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.ranks: dict[Key, int] = {}
        self.now = NOW
        self.count = 0

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    @initialize()
    def open(self) -> None:
        self.patch = mock.patch.object(inbox, "INBOX_LIMIT", LIMIT)
        self.patch.start()
        self.store: SqlMessages = self.run(SqlMessages.open("sqlite://"))

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        self.patch.stop()

    @rule(
        app=st.sampled_from(APPS),
        devices=st.lists(st.sampled_from(DEVICES), min_size=1, unique=True),
        collapse=st.sampled_from([None, "k"]),
        priority=st.sampled_from(Priority),
        ttl=st.integers(1, 40),
        repeated=st.booleans(),
    )
    def commit(
        self, app: str, devices: list[str], collapse: str | None, priority: Priority, ttl: int, repeated: bool
    ) -> None:
        self.count += 1
        fields: dict[str, Any] = {"collapse": collapse, "priority": priority, "expires": self.now + ttl}
        item = new(self.count, *devices, app=app, **fields)
        for _ in range(1 + repeated):
            (answer,) = self.run(self.store.commit([item], now=NOW, oldest_ms=60_000))
            assert answer.outcome is Commit.DONE
        self.model.sent[item.envelope.id] = item.envelope
        for device in devices:
            self.model.state[item.envelope.id, app, device] = State.ACCEPTED

    @precondition(lambda self: self.model.state)
    @rule(data=st.data())
    def apply(self, data: st.DataObject) -> None:
        keys = sorted(self.model.state)
        changes = []
        for _ in range(data.draw(st.integers(1, 8))):
            message_id, app, device = data.draw(st.sampled_from(keys))
            if data.draw(st.integers(0, 9)) == 0:
                app = OTHER if app == APP else APP  # often a stranger
            changes.append(self.change(data, message_id, app, device))
        outcome = self.run(self.store.apply(changes, now=self.now))
        before = dict(self.model.state)
        assert outcome.applied == [self.model.apply(change) for change in changes]
        named = {(c.id, c.app, c.device) for c in changes}
        aside = {key for key, state in self.model.state.items() if before[key] is not state and key not in named}
        reported = {(e.id, e.app, e.device) for e in outcome.ended}
        assert aside <= reported <= aside | named

    def change(self, data: st.DataObject, message_id: int, app: str, device: str) -> Change:
        to = data.draw(st.sampled_from([State.WAITING] * len(State) + list(State)))
        sent = self.model.sent[message_id]
        waits = to in OPEN and data.draw(st.booleans())
        work = None
        if to in OPEN and data.draw(st.booleans()):
            work = Later(id=message_id, app=app, device=device, task=data.draw(st.sampled_from(Task)), due=self.now)
        return Change(
            id=message_id,
            app=app,
            device=device,
            to=to,
            at=self.now,
            reason=Reason.POISON if to is State.UNDELIVERABLE else None,
            inbox=row(sent) if waits else None,
            collapse=sent.collapse,
            later=work,
        )

    @precondition(lambda self: self.model.state)
    @rule(data=st.data())
    def ack_what_was_never_stored(self, data: st.DataObject) -> None:
        keys = [k for k in sorted(self.model.state) if k not in self.model.inbox]
        keys = [k for k in keys if all(k != held for held, _ in self.model.later)]
        picked = data.draw(st.lists(st.sampled_from(keys), max_size=8)) if keys else []
        changes = [
            Change(id=k[0], app=k[1], device=k[2], to=data.draw(st.sampled_from(ACKS)), at=self.now, stored=False)
            for k in picked
        ]
        outcome = self.run(self.store.apply(changes, now=self.now))
        assert outcome.applied == [self.model.apply(change) for change in changes]
        assert outcome.ended == []

    @precondition(lambda self: self.model.sent)
    @rule(data=st.data())
    def recall(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(sorted(self.model.sent)))
        app = self.model.sent[message_id].app
        first = message_id not in self.model.recalled
        (answer,) = self.run(self.store.recall([(app, message_id)], now=self.now))
        self.model.recalled.add(message_id)
        if first:
            keys = [k for k in sorted(self.model.state) if k[0] == message_id]
            untried = {k for k in keys if k in self.model.inbox and self.model.state[k] is State.WAITING}
            notify = [k for k in keys if self.model.state[k] not in ENDS and k not in untried]
            for key in keys:
                if self.model.state[key] in OPEN:
                    self.model.end(key, State.RECALLED)
            self.model.recalls.update(notify)
            for key in notify:
                self.model.bound(key)
            assert answer.notify == [k[2] for k in notify]

    @precondition(lambda self: self.model.state)
    @rule(data=st.data())
    def put_later(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.state)))
        task = data.draw(st.sampled_from(Task))
        self.run(self.store.put_later([Later(id=key[0], app=key[1], device=key[2], task=task, due=self.now)]))
        if self.model.state[key] in OPEN:
            self.model.later.add((key, task))

    @rule(step=st.integers(1, 30), limit=st.integers(1, 5))
    def time_passes(self, step: int, limit: int) -> None:
        self.now += step
        ended = []
        while True:
            part = self.run(self.store.expire(now=self.now, limit=limit))
            ended += part
            if len(part) < limit:
                break
        due = {k for k in self.model.inbox if self.model.sent[k[0]].expires <= self.now}
        assert {(e.id, e.app, e.device) for e in ended} == due
        for key in due:
            unconfirmed = self.model.state[key] is State.VENDOR
            assert {e.reason for e in ended if (e.id, e.app, e.device) == key} == {
                Reason.UNCONFIRMED if unconfirmed else Reason.TTL
            }
            self.model.end(key, State.EXPIRED)

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        keys = sorted(self.model.state)
        standings = self.run(self.store.standings(keys))
        assert {k: s.state for k, s in zip(keys, standings, strict=True)} == self.model.state
        assert {k for k, s in zip(keys, standings, strict=True) if s.in_inbox} == self.model.inbox

    @invariant()
    def a_rank_never_falls_and_an_end_stays(self) -> None:
        for key, state in self.model.state.items():
            assert RANK[state] >= self.ranks.get(key, 0)
            self.ranks[key] = RANK[state]

    @invariant()
    def the_ledger_balances(self) -> None:
        views = self.run(self.store.get([(e.app, e.id) for e in self.model.sent.values()]))
        accepted = sum(len(e.devices) for e in self.model.sent.values())
        assert sum(sum(view.counts.values()) for view in views) == accepted
        in_flight = len(self.run(self.store.open_between(0, 2**63 - 1)))
        waiting = sum(view.counts.get(s, 0) for view in views for s in (State.WAITING, State.VENDOR))
        closed = sum(n for view in views for s, n in view.counts.items() if State(s) not in OPEN)
        assert accepted == closed + waiting + in_flight

    @invariant()
    def no_row_outlives_its_delivery(self) -> None:
        later = self.run(self.store.take_later(now=10**15, hold_ms=0))
        assert {((r.id, r.app, r.device), r.task) for r in later} == self.model.later
        pairs = [(app, device) for app in APPS for device in DEVICES]
        pages = self.run(self.store.inbox([InboxAsk(app, device, 99) for app, device in pairs], now=0))
        rows = {(r.id, app, device, r.recall) for (app, device), p in zip(pairs, pages, strict=True) for r in p.rows}
        assert rows == {(*k, False) for k in self.model.inbox} | {(*k, True) for k in self.model.recalls}
        assert all(len(page.rows) == page.waiting <= LIMIT for page in pages)
        assert all(page.rows == sorted(page.rows, key=lambda r: (r.priority, r.id)) for page in pages)


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
