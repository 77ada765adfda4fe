"""Asking neighbours whether they answer."""

import asyncio

from push_core.errors import Unavailable
from push_core.neighbours import Neighbours
from tests.support.hand_clock import HandClock


class Neighbour:
    def __init__(self) -> None:
        self.pings = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def ping(self) -> None:
        self.pings += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error


async def test_each_that_does_not_answer_has_a_line_and_the_others_have_none() -> None:
    well, ill, silent = Neighbour(), Neighbour(), Neighbour()
    ill.error = Unavailable("disk full")
    silent.gate.clear()
    asked = {"one": well.ping, "two": ill.ping, "three": silent.ping}
    neighbours = Neighbours(asked, HandClock().monotonic, keep_s=1.0, timeout_s=0.01)
    assert await neighbours.missing() == [
        "two does not answer (disk full)",
        "three does not answer (no answer within 0.01 s)",
    ]


async def test_an_answer_is_good_for_a_while_and_shared_by_all_who_ask_meanwhile() -> None:
    neighbour, time = Neighbour(), HandClock()
    neighbours = Neighbours({"it": neighbour.ping}, time.monotonic, keep_s=1.0, timeout_s=5.0)
    neighbour.gate.clear()
    asking = [asyncio.create_task(neighbours.missing()) for _ in range(20)]
    while not neighbour.pings:
        await asyncio.sleep(0)
    asking[0].cancel()  # a probe that hung up takes nobody with it
    neighbour.gate.set()
    assert await asyncio.gather(*asking[1:]) == [[]] * 19
    assert await neighbours.missing() == []
    assert neighbour.pings == 1
    time.advance(1.0)
    await neighbours.missing()
    assert neighbour.pings == 2


async def test_closing_waits_for_a_round_under_way() -> None:
    neighbour = Neighbour()
    neighbours = Neighbours({"it": neighbour.ping}, HandClock().monotonic, keep_s=0.0, timeout_s=0.02)
    neighbour.gate.clear()
    asking = asyncio.create_task(neighbours.missing())
    while not neighbour.pings:
        await asyncio.sleep(0)
    await neighbours.close()
    assert len(await asking) == 1
