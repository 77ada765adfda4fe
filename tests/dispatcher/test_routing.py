"""Which node gets which offers, and how they are packed into calls."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.delivery import Delivery
from dispatcher.routing import offer_of, pack, share_out
from push_core.presence.port import Located, Node, Route
from tests.dispatcher.test_settle import delivery

ENVELOPE = delivery().envelope


def at(node: str, device: str) -> Located:
    return Located(
        Route(app="courier", device=device, incarnation=node, epoch=1),
        Node(incarnation=node, name=node, address=node, zone="default"),
    )


def test_devices_of_one_message_at_one_node_share_an_offer() -> None:
    deliveries = [Delivery(ENVELOPE, device) for device in ("a", "b", "c", "d")]
    shares, nowhere = share_out(deliveries, [at("n1", "a"), None, at("n2", "c"), at("n1", "d")])
    assert [(share.node.name, [offer.devices for offer in share.offers]) for share in shares] == [
        ("n1", [["a", "d"]]),
        ("n2", [["c"]]),
    ]
    assert [one.device for one in nowhere] == ["b"]


def test_a_repeat_and_a_first_try_never_share_an_offer() -> None:
    deliveries = [Delivery(ENVELOPE, "a", again=False), Delivery(ENVELOPE, "b", again=True)]
    shares, _ = share_out(deliveries, [at("n1", "a"), at("n1", "b")])
    assert [(offer.devices, offer.again) for offer in shares[0].offers] == [(["a"], False), (["b"], True)]


def test_a_recall_carries_no_push() -> None:
    offer = offer_of(ENVELOPE, ["a"], recall=True)
    assert (offer.recall, offer.push) == (True, b"")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=60))
def test_answers_come_in_the_order_of_the_deliveries(plan: list[tuple[int, int, bool]]) -> None:
    envelopes = [msgspec.structs.replace(ENVELOPE, id=n) for n in range(4)]
    deliveries = [Delivery(envelopes[n], f"d{index}", again) for index, (n, _, again) in enumerate(plan)]
    located = [at(f"n{node}", f"d{index}") if node else None for index, (_, node, _) in enumerate(plan)]
    shares, nowhere = share_out(deliveries, located)
    for share in shares:
        offered = [(offer.id, device, offer.again) for offer in share.offers for device in offer.devices]
        assert offered == [(one.envelope.id, one.device, one.again) for one in share.deliveries]
    assert len(nowhere) + sum(len(share.deliveries) for share in shares) == len(plan)


@given(st.lists(st.integers(1, 9), max_size=50), st.integers(1, 8), st.integers(1, 12))
def test_packing_keeps_order_and_bounds(sizes: list[int], most_offers: int, most_devices: int) -> None:
    offers = [offer_of(ENVELOPE, ["d"] * size) for size in sizes]
    parts = list(pack(offers, most_offers=most_offers, most_devices=most_devices))
    assert [offer for part in parts for offer in part] == offers
    for part in parts:
        assert len(part) <= most_offers
        assert len(part) == 1 or sum(len(offer.devices) for offer in part) <= most_devices
