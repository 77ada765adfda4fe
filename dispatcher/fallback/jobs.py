"""What travels in the vendors' queues: one delivery for one vendor. A queue's message carries a batch, in MessagePack arrays, so that a later
version may add fields at the end."""

from collections.abc import Sequence

import msgspec

from dispatcher.publisher import chunks, join
from push_core.envelope import Envelope, vendor_queue_name
from push_core.queues.port import Parcel, Queues


class VendorJob(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """`tried` are channels that refused this delivery already; `tries` counts vendor calls that ended with "later"."""

    envelope: Envelope
    device: str
    channel: str
    token: str
    tried: tuple[str, ...] = ()
    tries: int = 0

    def __repr__(self) -> str:  # a token never reaches a log
        return f"VendorJob({self.envelope.id}, {self.envelope.app!r}, {self.device!r}, {self.channel!r}, tries={self.tries})"

    @property
    def claim(self) -> str:
        return f"{self.envelope.id}:{self.envelope.app}:{self.device}:{self.channel}"

    @property
    def row_key(self) -> tuple[int, str, str]:
        return self.envelope.id, self.envelope.app, self.device


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[VendorJob])


def job_of(
    envelope: Envelope, device: str, route: tuple[str, str], *, tried: tuple[str, ...] = (), tries: int = 0
) -> VendorJob:
    if envelope.devices:
        # An envelope to a thousand devices would otherwise carry all their names into each job.
        envelope = msgspec.structs.replace(envelope, devices=[])
    return VendorJob(envelope=envelope, device=device, channel=route[0], token=route[1], tried=tried, tries=tries)


def decode_jobs(body: bytes) -> list[VendorJob]:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(body)


def encode_jobs(jobs: Sequence[VendorJob]) -> bytes:
    return _encoder.encode(jobs)


async def publish_jobs(queues: Queues, jobs: Sequence[VendorJob]) -> None:
    """A job that the queue refuses is taken up again by its later row."""
    by_channel: dict[str, list[tuple[int, bytes]]] = {}
    for job in jobs:
        by_channel.setdefault(job.channel, []).append((0, _encoder.encode(job)))
    parcels = [
        Parcel(vendor_queue_name(channel), join([body for _, body in part]))
        for channel, items in by_channel.items()
        for part in chunks(items)
    ]
    if parcels:
        await queues.publish(parcels)
