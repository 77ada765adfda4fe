"""Envelopes into their queues again, marked as repeats; and vendor jobs into the vendors' queues. Batches within the bounds of
`push_core.envelope`."""

from collections.abc import Iterable, Iterator, Sequence

from push_core.envelope import MAX_BATCH, MAX_BATCH_BYTES, Envelope, encode, queue_name
from push_core.queues.port import Parcel, Published, Queues


async def publish_envelopes(queues: Queues, envelopes: Iterable[Envelope]) -> list[Published]:
    """What the queue said of each envelope's batch, in order."""
    grouped: dict[str, list[tuple[int, bytes]]] = {}
    count = 0
    for envelope in envelopes:
        queue = queue_name(envelope.queue_class, envelope.priority)
        grouped.setdefault(queue, []).append((count, encode(envelope)))
        count += 1
    parcels: list[Parcel] = []
    members: list[list[int]] = []
    for queue, items in grouped.items():
        for part in chunks(items):
            parcels.append(Parcel(queue, join([body for _, body in part])))
            members.append([index for index, _ in part])
    outcomes = [Published.UNCONFIRMED] * count
    if parcels:
        for outcome, indices in zip(await queues.publish(parcels), members, strict=True):
            for index in indices:
                outcomes[index] = outcome
    return outcomes


def chunks(items: Sequence[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Parts of at most MAX_BATCH items and MAX_BATCH_BYTES, at least one each."""
    part: list[tuple[int, bytes]] = []
    size = 0
    for item in items:
        if part and (len(part) >= MAX_BATCH or size + len(item[1]) > MAX_BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item[1])
    if part:
        yield part


def join(bodies: Sequence[bytes]) -> bytes:
    """A MessagePack array of items that are encoded already (array 16: 0xdc and the count, msgpack spec "array format family")."""
    return b"\xdc" + len(bodies).to_bytes(2, "big") + b"".join(bodies)
