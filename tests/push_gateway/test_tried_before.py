"""A device that is back sooner than its lost connection is in the store: what was written to it before says so."""

from push_core.rpc.port import ReceiptKind
from tests.push_gateway.support import Node


async def test_a_push_written_before_a_quick_reconnect_is_marked_though_the_inbox_does_not_know(node: Node) -> None:
    waiting = await node.store("d-1")
    first = await node.device(install="i", attempt=1)
    push = await first.push()
    assert (push.id, push.again) == (waiting, False)
    node.receipts.down = True  # the store hears of the loss later
    first.socket.transport.abort()
    second = await node.device(install="i", attempt=2)
    again = await second.push()
    assert (again.id, again.again) == (waiting, True)
    node.receipts.down = False
    await node.receipts.of(waiting, ReceiptKind.LOST)


async def test_a_push_written_before_another_connection_took_over_is_marked_too(node: Node) -> None:
    waiting = await node.store("d-1")
    first = await node.device(install="i", attempt=1)
    await first.push()
    node.receipts.down = True
    second = await node.device(install="i", attempt=2)
    again = await second.push()
    assert (again.id, again.again) == (waiting, True)
    node.receipts.down = False
