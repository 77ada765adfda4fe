"""Which node gets which offers, and how offers are packed into calls. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dispatcher.delivery import Delivery
from push_core.envelope import Envelope
from push_core.presence.port import Located, Node, Route
from push_core.rpc.port import Offer


@dataclass(slots=True)
class NodeShare:
    """What one node is offered: each offer, and the deliveries in the order of the answer's bytes with the route they went by."""

    node: Node
    offers: list[Offer] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)


def share_out(
    deliveries: Sequence[Delivery], located: Sequence[Located | None]
) -> tuple[list[NodeShare], list[Delivery]]:
    """A share for each node, and the deliveries without a route. The devices of one envelope at one node share an offer
    when they come one after the other and are alike."""
    shares: dict[str, NodeShare] = {}
    newest: dict[str, tuple[Envelope, bool]] = {}
    nowhere: list[Delivery] = []
    for delivery, found in zip(deliveries, located, strict=True):
        if found is None:
            nowhere.append(delivery)
            continue
        incarnation = found.node.incarnation
        share = shares.get(incarnation)
        if share is None:
            share = shares[incarnation] = NodeShare(found.node)
        envelope = delivery.envelope
        last = newest.get(incarnation)
        if last is not None and last[0] is envelope and last[1] is delivery.again:
            share.offers[-1].devices.append(delivery.device)
        else:
            share.offers.append(offer_of(envelope, [delivery.device], again=delivery.again))
            newest[incarnation] = envelope, delivery.again
        share.deliveries.append(delivery)
        share.routes.append(found.route)
    return list(shares.values()), nowhere


def offer_of(envelope: Envelope, devices: list[str], *, again: bool = False, recall: bool = False) -> Offer:
    return Offer(
        id=envelope.id,
        app=envelope.app,
        devices=devices,
        push=b"" if recall else envelope.push,
        expires=envelope.expires,
        ack_timeout_ms=envelope.ack_timeout_ms,
        priority=envelope.priority.order,
        again=again,
        recall=recall,
        live_only=envelope.live_only,
    )


def pack(offers: Sequence[Offer], *, most_offers: int, most_devices: int) -> Iterator[list[Offer]]:
    """Lists for one call each. An offer to more devices than one call takes goes alone: an envelope's number of devices is bounded
    where it is accepted."""
    part: list[Offer] = []
    devices = 0
    for offer in offers:
        if part and (len(part) >= most_offers or devices + len(offer.devices) > most_devices):
            yield part
            part, devices = [], 0
        part.append(offer)
        devices += len(offer.devices)
    if part:
        yield part
