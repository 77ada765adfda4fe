"""What every message store promises of live broadcasts: open until they have ended, counted by node."""

from typing import Any

import pytest

from push_core.envelope import Envelope
from push_core.lifecycle import Reason, State
from push_core.messages.port import Messages, NodeCount
from tests.contracts.messages_support import APP, NOW, OTHER, MessagesContract, new
from tests.contracts.sql_stores import OnMaria, OnSqliteFile, OnSqliteMemory, OnTwoMarias, OnTwoSqliteFiles


class Broadcasts(MessagesContract):
    def counted(self, sent: Envelope, node: str, *numbers: int, app: str = APP) -> NodeCount:
        written, full, acked, refused = numbers
        return NodeCount(id=sent.id, app=app, node=node, written=written, full=full, acked=acked, refused=refused)

    @pytest.mark.parametrize("to", [{"topic": "news"}, {"everyone": True}])
    async def test_a_broadcast_is_open_until_it_is_said_to_have_ended(
        self, store: Messages, to: dict[str, Any]
    ) -> None:
        (sent,) = await self.accept(store, new(1, live_only=True, **to))
        assert await store.open_between(0, sent.id) == [(sent.id, APP, "")]
        assert await store.envelopes([sent.id]) == [sent]
        view = await self.view(store, sent)
        assert (view.state, view.counts, view.deliveries) == (State.ACCEPTED, {}, [])
        await store.expanded([(sent.id, APP, Reason.NOT_CONNECTED)], now=NOW + 9)
        view = await self.view(store, sent)
        assert (view.state, view.reason, view.counts) == (State.EXPIRED, "not_connected", {})
        assert await store.open_between(0, sent.id) == []

    async def test_what_nodes_counted_is_added_up_and_the_highest_word_of_each_counts(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, live_only=True, topic="news"))
        await store.count([self.counted(sent, "gw-1", 5, 1, 0, 0), self.counted(sent, "gw-2", 3, 0, 1, 0)])
        view = await self.view(store, sent)
        assert (view.state, view.counts) == (State.DELIVERED, {"delivered": 1, "sending": 7, "expired": 1})
        await store.count([self.counted(sent, "gw-1", 5, 1, 3, 1), self.counted(sent, "gw-2", 0, 0, 0, 0)])
        await store.count([self.counted(sent, "gw-1", 5, 1, 2, 0)])  # an older answer that came late
        view = await self.view(store, sent)
        assert view.counts == {"delivered": 4, "sending": 3, "undeliverable": 1, "expired": 1}
        await store.expanded([(sent.id, APP, None)], now=NOW + 9)
        view = await self.view(store, sent)
        assert (view.state, view.reason) == (State.DELIVERED, "")
        assert view.counts == {"delivered": 4, "undeliverable": 1, "expired": 4}

    async def test_nobody_acked(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, live_only=True, topic="news"))
        await store.count([self.counted(sent, "gw-1", 2, 0, 0, 0)])
        assert (await self.view(store, sent)).state is State.SENDING
        await store.expanded([(sent.id, APP, Reason.NOT_ACKED)], now=NOW + 9)
        view = await self.view(store, sent)
        assert (view.state, view.reason, view.counts) == (State.EXPIRED, "not_acked", {"expired": 2})

    async def test_another_app_counts_nothing(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, live_only=True, topic="news"))
        await store.count([self.counted(sent, "gw-1", 2, 0, 0, 0, app=OTHER)])
        assert (await self.view(store, sent)).counts == {}

    async def test_a_recalled_broadcast_is_open_no_more(self, store: Messages) -> None:
        (sent,) = await self.accept(store, new(1, live_only=True, topic="news"))
        (answer,) = await store.recall([(APP, sent.id)], now=NOW)
        assert answer is not None
        assert (answer.notify, (await self.view(store, sent)).state) == ([], State.RECALLED)
        assert await store.open_between(0, sent.id) == []


class TestBroadcastsOnSqliteFile(OnSqliteFile, Broadcasts): ...


class TestBroadcastsOnSqliteMemory(OnSqliteMemory, Broadcasts): ...


class TestBroadcastsOnMaria(OnMaria, Broadcasts): ...


class TestBroadcastsOnTwoSqliteFiles(OnTwoSqliteFiles, Broadcasts): ...


class TestBroadcastsOnTwoMarias(OnTwoMarias, Broadcasts): ...
