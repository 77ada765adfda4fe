"""The first look at a batch, before anybody is asked: what has expired, what must be checked, what is a recall. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dispatcher.delivery import Delivery, change
from push_core.clock import WallMs
from push_core.envelope import Envelope, Work
from push_core.lifecycle import OPEN, Reason, State
from push_core.messages.port import Change, Standing


@dataclass(slots=True)
class Screened:
    """A batch by what has to be done. `ask_recalled` are ids of `named` whose recall may have come before them."""

    named: list[Delivery] = field(default_factory=list)
    aliases: list[Envelope] = field(default_factory=list)
    broadcasts: list[Envelope] = field(default_factory=list)
    recalls: list[Envelope] = field(default_factory=list)
    ask_recalled: list[int] = field(default_factory=list)


def screen(envelopes: Iterable[Envelope], *, redelivered: bool, now: WallMs, recall_check_after_ms: int) -> Screened:
    """Repeats are not asked about: the store's row, which is read for them anyway, says whether they were recalled."""
    screened = Screened()
    for envelope in envelopes:
        if envelope.work is Work.RECALL:
            screened.recalls.append(envelope)
            continue
        if envelope.is_broadcast:
            screened.broadcasts.append(envelope)
            continue
        again = redelivered or envelope.repeat
        if envelope.alias is not None and not envelope.devices:
            screened.aliases.append(envelope)
            continue
        if not again and now - envelope.sent > recall_check_after_ms:
            screened.ask_recalled.append(envelope.id)
        for device in envelope.devices:
            screened.named.append(Delivery(envelope, device, again))
    return screened


def split_expired(deliveries: Sequence[Delivery], now: WallMs) -> tuple[list[Delivery], list[Change]]:
    """Those still in time, and the ends of the others."""
    fresh = [delivery for delivery in deliveries if delivery.envelope.expires > now]
    if len(fresh) == len(deliveries):
        return fresh, []
    ends = [expiry(delivery, now) for delivery in deliveries if delivery.envelope.expires <= now]
    return fresh, ends


def expiry(delivery: Delivery, now: WallMs) -> Change:
    return change(delivery, State.EXPIRED, now, Reason.NOT_CONNECTED if delivery.envelope.live_only else Reason.TTL)


def split_repeats(
    repeats: Sequence[Delivery], standings: Sequence[Standing | None]
) -> tuple[list[Delivery], list[Delivery]]:
    """Those that are still to be handled, and those that wait in an inbox already: stored by an earlier try that may have died before
    it told the gateway. The rest is done, recalled, or with a vendor."""
    handle: list[Delivery] = []
    in_inbox: list[Delivery] = []
    for delivery, standing in zip(repeats, standings, strict=True):
        if standing is None or standing.recalled or standing.state not in OPEN:
            continue
        if standing.in_inbox:
            in_inbox.append(delivery)
        elif not standing.vendor:
            handle.append(delivery)
    return handle, in_inbox
