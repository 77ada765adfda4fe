"""From a Deliver call to the device and from its ack to the receipts."""

import asyncio
from typing import Any

import pytest

from push_core.clock import Clock
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.models import App
from push_core.rpc.port import Poke, ReceiptKind, Taking
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from tests.push_gateway.support import APP, SECRET, Node, Site, new_id, offer


async def test_a_push_is_written_and_its_ack_reported(node: Node, codec: Codec) -> None:
    client = await node.device(codec=codec)
    sent = offer("d-1")
    assert await node.deliver(sent) == [Taking.ACCEPTED]
    push = await client.push()
    assert (push.id, push.title, push.again, push.via_vendor) == (sent.id, "hello", False, False)
    await client.ack(push.id)
    receipt = await node.receipts.of(sent.id, ReceiptKind.RECEIVED)
    assert (receipt.app, receipt.device, receipt.stored) == (APP, "d-1", False)
    assert 0 < receipt.written_at <= receipt.at


async def test_a_message_for_many_devices_reaches_each_in_its_codec(site: Site, node: Node) -> None:
    from sdk_proto.wire.subprotocols import JSON, PROTO

    clients = [await node.device(f"d-{number}", PROTO if number % 2 else JSON) for number in range(10)]
    takings = await node.deliver(offer(*(f"d-{number}" for number in range(12))))
    assert takings == [Taking.ACCEPTED] * 10 + [Taking.ABSENT] * 2
    for client in clients:
        assert (await client.push()).title == "hello"


async def test_a_large_call_lets_others_have_their_turn(site: Site) -> None:
    node = await site.node(deliver_slice=3)
    clients = [await node.device(f"d-{number}") for number in range(8)]
    names = [f"d-{number}" for number in range(8)]
    assert await node.deliver(offer(*names), offer(*names)) == [Taking.ACCEPTED] * 16
    for client in clients:
        assert (await client.push()).id != (await client.push()).id


async def test_marks_of_an_offer_are_on_the_push(node: Node, codec: Codec) -> None:
    client = await node.device(codec=codec)
    await node.deliver(offer("d-1", again=True), offer("d-1", via_vendor=True))
    first, second = await client.push(), await client.push()
    assert (first.again, first.via_vendor, second.again, second.via_vendor) == (True, False, False, True)
    await client.ack(first.id, second.id)
    assert (await node.receipts.of(first.id, ReceiptKind.RECEIVED)).stored
    assert (await node.receipts.of(second.id, ReceiptKind.RECEIVED)).stored


async def test_devices_of_another_app_are_absent(site: Site, node: Node) -> None:
    await node.device("d-1")
    await site.ports.devices.put_apps([App(name="taxi", device_secrets=(SECRET,))])
    assert await node.deliver(offer("d-1", app="taxi")) == [Taking.ABSENT]


async def test_what_is_unacked_is_accepted_and_not_written_twice(node: Node) -> None:
    client = await node.device()
    sent = offer("d-1")
    assert await node.deliver(sent, sent) == [Taking.ACCEPTED] * 2
    await client.push()
    await client.pong()


async def test_what_is_acked_but_not_yet_stored_is_not_written_again(node: Node) -> None:
    client = await node.device()
    node.receipts.down = True
    sent = offer("d-1")
    await node.deliver(sent)
    await client.ack((await client.push()).id)
    await client.pong()
    again = offer("d-1", message_id=sent.id, again=True)
    assert await node.deliver(again) == [Taking.ACCEPTED]
    await client.pong()
    node.receipts.down = False
    await node.receipts.of(sent.id, ReceiptKind.RECEIVED)


@pytest.mark.parametrize("late", ["expires", "deadline"])
async def test_what_is_late_is_not_written(node: Node, late: str) -> None:
    client = await node.device()
    now = Clock().wall_ms()
    sent = offer("d-1", expires=now if late == "expires" else now + 5_000)
    assert await node.deliver(sent, deadline=now if late == "deadline" else now + 5_000) == [Taking.EXPIRED]
    await client.pong()


async def test_another_life_of_the_node_is_absent(node: Node) -> None:
    client = await node.device()
    assert await node.deliver(offer("d-1", "d-2"), incarnation="before") == [Taking.ABSENT] * 2
    await client.pong()


async def test_a_push_that_nobody_can_read_ends_here(node: Node, codec: Codec) -> None:
    client = await node.device(codec=codec)
    sent = offer("d-1", push=b"no push")
    assert await node.deliver(sent) == [Taking.ACCEPTED]
    await node.receipts.of(sent.id, ReceiptKind.UNDECODABLE)
    await client.pong()


@pytest.mark.parametrize("status", f.ACK_STATUSES)
async def test_each_status_of_an_ack_is_a_receipt(node: Node, codec: Codec, status: str) -> None:
    client = await node.device(codec=codec)
    sent = offer("d-1")
    await node.deliver(sent)
    await client.ack((await client.push()).id, status=status)
    await node.receipts.of(sent.id, ReceiptKind[status.upper()])


async def test_an_ack_of_an_earlier_connection_s_push_is_reported(node: Node) -> None:
    client = await node.device()
    message_id = new_id()
    await client.ack(message_id)
    receipt = await node.receipts.of(message_id, ReceiptKind.RECEIVED)
    assert (receipt.stored, receipt.written_at) == (True, 0)


async def test_acks_of_foreign_ids_beyond_four_windows_are_dropped_and_counted(site: Site, node: Node) -> None:
    client = await node.device(window=2)
    ids = [new_id() for _ in range(10)]
    await client.ack(*ids)
    await client.pong()
    await node.gateway._receipts.flush(5.0)
    assert [receipt.id for receipt in node.receipts.taken] == ids[:8]
    node.gateway._context.counters.flush()
    metrics = site.ports.metrics
    assert isinstance(metrics, MemoryMetrics)
    assert metrics.counted(Metric.GW_ACKS_FOREIGN) == 2


async def test_a_push_unacked_for_a_moment_is_reported_written_then_missed(site: Site) -> None:
    node = await site.node(written_after_s=0.02)
    client = await node.device()
    sent = offer("d-1", ack_timeout_ms=60)
    await node.deliver(sent)
    await client.push()
    written = await node.receipts.of(sent.id, ReceiptKind.WRITTEN)
    missed = await node.receipts.of(sent.id, ReceiptKind.MISSED)
    assert (written.stored, missed.stored) == (False, True)
    assert missed.deadline == missed.written_at + 60 == written.written_at + 60
    await client.ack(sent.id)
    assert (await node.receipts.of(sent.id, ReceiptKind.RECEIVED)).stored
    assert len(node.receipts.kinds(sent.id)) == 3


async def test_a_connection_cut_off_loses_what_was_unacked(node: Node) -> None:
    client = await node.device()
    sent, acked = offer("d-1"), offer("d-1")
    await node.deliver(sent, acked)
    await client.push()
    await client.ack((await client.push()).id)
    await node.receipts.of(acked.id, ReceiptKind.RECEIVED)
    client.socket.transport.abort()
    lost = await node.receipts.of(sent.id, ReceiptKind.LOST)
    assert lost.deadline == lost.written_at + sent.ack_timeout_ms
    assert node.receipts.kinds(acked.id) == [ReceiptKind.RECEIVED]


# ── window and inbox ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_does_not_fit_the_window_is_full(node: Node) -> None:
    await node.device(window=2)
    offers = [offer("d-1") for _ in range(3)]
    assert await node.deliver(*offers) == [Taking.ACCEPTED, Taking.ACCEPTED, Taking.FULL]


async def test_the_inbox_comes_on_connect_by_priority_then_id(node: Node, codec: Codec) -> None:
    from push_core.models import Priority

    low = await node.store("d-1", priority=Priority.LOW)
    urgent = await node.store("d-1", priority=Priority.URGENT, again=True)
    normal = await node.store("d-1")
    client = await node.client(codec)
    welcome = await client.sign_in()
    assert welcome.pending == 3
    pushes = [await client.push() for _ in range(3)]
    assert [push.id for push in pushes] == [urgent, normal, low]
    assert [push.again for push in pushes] == [True, False, False]


async def test_an_inbox_larger_than_the_window_comes_as_the_window_frees(node: Node) -> None:
    ids = [await node.store("d-1") for _ in range(20)]
    client = await node.device(window=4)
    got = []
    for _ in range(len(ids)):
        push = await client.push()
        got.append(push.id)
        await client.ack(push.id)
    assert got == ids
    await client.pong()  # and nothing comes twice, though the store still has all of it
    assert set(node.receipts.kinds(ids[0])) == {ReceiptKind.RECEIVED}


async def test_the_next_pushes_wait_until_half_of_the_window_is_free(node: Node) -> None:
    for _ in range(8):
        await node.store("d-1")
    client = await node.device(window=4)
    first = [await client.push() for _ in range(4)]
    await client.ack(first[0].id)
    await client.pong()
    await client.ack(first[1].id)
    await client.push()
    await client.push()
    await client.pong()


async def test_a_poke_has_the_inbox_read(node: Node) -> None:
    client = await node.device()
    waiting = await node.store("d-1")
    await client.pong()
    await node.ports.rpc.peers().poke(node.gateway.address, [Poke(APP, "d-1"), Poke(APP, "d-2")])
    assert (await client.push()).id == waiting


async def test_what_was_full_comes_when_there_is_room(node: Node) -> None:
    client = await node.device(window=1)
    first = offer("d-1")
    await node.deliver(first)
    assert await node.deliver(offer("d-1")) == [Taking.FULL]
    waiting = await node.store("d-1")  # what a dispatcher does with it
    await client.ack((await client.push()).id)
    assert (await client.push()).id == waiting


async def test_an_ack_that_crosses_the_reading_of_the_inbox_is_not_answered_with_the_same_push(site: Site) -> None:
    """The page was read before the ack was stored; it is handled after."""
    node = await site.node()
    inbox, release, read = site.ports.messages.inbox, asyncio.Event(), asyncio.Event()
    waiting = await node.store("d-1")
    client = await node.device()
    assert (await client.push()).id == waiting

    async def slow(*args: Any, **kwargs: Any) -> Any:
        pages = await inbox(*args, **kwargs)
        read.set()
        await release.wait()
        return pages

    site.ports.messages.inbox = slow  # type: ignore[method-assign]
    await node.ports.rpc.peers().poke(node.gateway.address, [Poke(APP, "d-1")])
    await read.wait()
    await client.ack(waiting)
    await node.receipts.of(waiting, ReceiptKind.RECEIVED)
    await node.gateway._receipts.flush(5.0)
    release.set()
    await client.pong()
    await client.pong()


async def test_what_was_lost_comes_again_after_a_reconnect(node: Node) -> None:
    first = await node.device(install="i", attempt=1)
    waiting = await node.store("d-1", again=True)
    first.socket.transport.abort()
    second = await node.device(install="i", attempt=2)
    push = await second.push()
    assert (push.id, push.again) == (waiting, True)
    await second.ack(push.id)
    await node.receipts.of(push.id, ReceiptKind.RECEIVED)
    await node.delivered("d-1", push.id)
    third = await node.client()
    assert (await third.sign_in(install="i", attempt=3)).pending == 0


async def test_offers_while_a_device_joins_are_full_and_not_absent(site: Site, node: Node) -> None:
    sign_in, release, asked = site.ports.presence.sign_in, asyncio.Event(), asyncio.Event()

    async def slow(routes: Any) -> Any:
        answer = await sign_in(routes)
        asked.set()
        await release.wait()
        return answer

    site.ports.presence.sign_in = slow  # type: ignore[method-assign]
    client = await node.client()
    await client.hello()
    await asked.wait()
    assert await node.deliver(offer("d-1")) == [Taking.FULL]
    waiting = await node.store("d-1")
    await node.ports.rpc.peers().poke(node.gateway.address, [Poke(APP, "d-1")])
    release.set()
    assert isinstance(await client.receive(), f.Welcome)
    assert (await client.push()).id == waiting
    await client.pong()


# ── recalls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_recall_is_written_and_shown_with_the_next_frame(node: Node, codec: Codec) -> None:
    client = await node.device(codec=codec)
    sent = offer("d-1", recall=True, push=b"")
    assert await node.deliver(sent) == [Taking.ACCEPTED]
    assert await client.receive() == f.Recall(sent.id)
    assert node.receipts.kinds(sent.id) == []
    await client.send(f.StateChange("foreground"))
    await node.receipts.of(sent.id, ReceiptKind.RECALL_SHOWN)


async def test_a_recall_that_waited_comes_on_connect(node: Node) -> None:
    message_id = await node.store("d-1", again=True)
    await node.ports.messages.recall([(APP, message_id)], now=Clock().wall_ms())
    client = await node.device()
    assert await client.receive() == f.Recall(message_id)
    await client.pong()
    await node.receipts.of(message_id, ReceiptKind.RECALL_SHOWN)


async def test_a_page_that_fails_ends_its_own_session_only(node: Node) -> None:
    """Two inboxes are read in one call; one of them can't be handled."""
    bad, good = await node.device("bad"), await node.device("good")
    waiting = await node.store("good")
    real_read = node.gateway._drains.read

    async def read(connections: Any) -> Any:
        pages = await real_read(connections)
        return [
            "no page" if connection.key[1] == "bad" else page
            for connection, page in zip(connections, pages, strict=True)
        ]

    node.gateway._drains.read = read  # type: ignore[method-assign]
    await node.ports.rpc.peers().poke(node.gateway.address, [Poke(APP, "bad"), Poke(APP, "good")])
    assert await bad.closed() == 4006
    assert (await good.push()).id == waiting


async def test_an_unexpected_error_of_the_store_is_tried_again(site: Site, node: Node) -> None:
    client = await node.device()
    waiting = await node.store("d-1")
    inbox, tries = site.ports.messages.inbox, 0

    async def faulty(*args: Any, **kwargs: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RuntimeError("a bug")
        return await inbox(*args, **kwargs)

    site.ports.messages.inbox = faulty  # type: ignore[method-assign]
    await node.ports.rpc.peers().poke(node.gateway.address, [Poke(APP, "d-1")])
    assert (await client.push()).id == waiting
    assert tries == 3


async def test_recalls_beyond_the_window_wait_for_a_sign_of_life_and_not_in_a_loop(site: Site, node: Node) -> None:
    """The store was once asked for the same page hundreds of times a second until the device said something."""
    ids = [await node.store("d-1", again=True) for _ in range(6)]
    await node.ports.messages.recall([(APP, each) for each in ids], now=Clock().wall_ms())
    inbox, reads = site.ports.messages.inbox, 0

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal reads
        reads += 1
        return await inbox(*args, **kwargs)

    site.ports.messages.inbox = counted  # type: ignore[method-assign]
    client = await node.device(window=4)
    shown = [await client.receive() for _ in range(4)]
    for _ in range(20):
        await site.ports.messages.ping()  # as long as that many reads take
    before = reads
    await client.send(f.StateChange("foreground"))
    shown += [await client.receive() for _ in range(2)]
    assert shown == [f.Recall(each) for each in ids]
    assert before <= 2
