"""From an alias to devices, page by page: a page's deliveries are committed before any of them is sent, and the expansion is marked complete
after the last page was handled. A try that died starts over; what it had committed is recognised by the store."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from dispatcher.delivery import Delivery
from push_core.clock import WallMs
from push_core.devices.port import Devices
from push_core.envelope import Envelope
from push_core.lifecycle import Reason
from push_core.messages.port import Messages


@dataclass(slots=True)
class _Open:
    envelope: Envelope
    alias: str
    after: str = ""
    found: bool = False


async def expand(
    envelopes: Sequence[Envelope],
    devices: Devices,
    messages: Messages,
    wall_ms: Callable[[], WallMs],
    *,
    redelivered: bool,
    page: int,
) -> AsyncIterator[list[Delivery]]:
    """Waves of deliveries: a page of each alias. Raises Unavailable."""
    left = [_Open(envelope, envelope.alias) for envelope in envelopes if envelope.alias is not None]
    while left:
        pages = await asyncio.gather(
            *(devices.by_alias(one.envelope.app, [one.alias], after=one.after, limit=page) for one in left)
        )
        rows = [(one.envelope.id, one.envelope.app, names) for one, names in zip(left, pages, strict=True) if names]
        if rows:
            await messages.expand(rows, now=wall_ms())
        # Asked after the page is committed: a recall that comes later finds these deliveries itself and names their devices.
        recalled = await messages.recalled([one.envelope.id for one in left])
        wave: list[Delivery] = []
        ends: list[tuple[int, str, Reason | None]] = []
        rest: list[_Open] = []
        for one, names in zip(left, pages, strict=True):
            envelope = one.envelope
            if envelope.id in recalled:
                ends.append((envelope.id, envelope.app, None))
                continue
            again = redelivered or envelope.repeat
            wave.extend(Delivery(envelope, name, again) for name in names)
            one.found = one.found or bool(names)
            if len(names) == page:
                one.after = names[-1]
                rest.append(one)
            else:
                ends.append((envelope.id, envelope.app, None if one.found else Reason.NO_DEVICE))
        if wave:
            yield wave
        if ends:
            await messages.expanded(ends, now=wall_ms())
        left = rest
