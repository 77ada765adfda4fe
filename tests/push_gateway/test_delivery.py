"""From a Deliver call to the device and from its ack to the receipts."""

from push_core.rpc.port import ReceiptKind, Taking
from sdk_proto.wire.codec import Codec
from tests.push_gateway.support import APP, Node, offer


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
