"""An inbox of which a store that is away has a part: what the others have is delivered, the rest when it is back, nothing twice."""

from typing import Any

import msgspec

from push_core.models import Priority
from push_core.rpc.port import Poke
from tests.push_gateway.support import APP, Node, Site


async def test_what_a_store_that_was_away_has_comes_later_even_if_it_sorts_first(site: Site, node: Node) -> None:
    client = await node.device()
    urgent = await node.store("d-1", priority=Priority.URGENT)
    normal = await node.store("d-1")
    inbox, away = site.ports.messages.inbox, True

    async def partly(asks: Any, *, now: int) -> Any:
        pages = await inbox(asks, now=now)
        if not away:
            return pages
        return [
            msgspec.structs.replace(page, rows=[row for row in page.rows if row.id != urgent], partial=True)
            for page in pages
        ]

    site.ports.messages.inbox = partly  # type: ignore[method-assign]
    await node.ports.rpc.peers().poke(node.gateway.address, [Poke(APP, "d-1")])
    assert (await client.push()).id == normal
    away = False
    assert (await client.push()).id == urgent
    await node.delivered("d-1", normal, urgent)
    await client.ack(normal, urgent)
    third = await node.store("d-1")
    await node.ports.rpc.peers().poke(node.gateway.address, [Poke(APP, "d-1")])
    assert (await client.push()).id == third
