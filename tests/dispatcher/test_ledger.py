"""The one way to move deliveries: shared transactions, and nothing told that did not happen."""

import asyncio

import pytest

from dispatcher.ledger import CHANGES_PER_CALL, is_plain
from push_core.errors import Overloaded, Unavailable
from push_core.lifecycle import State
from push_core.messages.port import Applied, Change
from push_core.metrics.catalogue import Metric
from tests.dispatcher.world import APP, World


def change(envelope_id: int, to: State, *, device: str = "d-1", stored: bool = True) -> Change:
    return Change(id=envelope_id, app=APP, device=device, to=to, at=1, stored=stored)


async def test_changes_of_batches_that_come_together_share_a_transaction(world: World) -> None:
    envelope = world.envelope("d-1", "d-2")
    await world.commit(envelope)
    calls = []
    apply = world.messages.apply

    async def counted(changes, *, now):  # type: ignore[no-untyped-def]
        calls.append(len(changes))
        return await apply(changes, now=now)

    world.ports.messages.apply = counted  # type: ignore[method-assign]
    answers = await asyncio.gather(
        world.parts.ledger.apply([change(envelope.id, State.DELIVERED)]),
        world.parts.ledger.apply(
            [change(envelope.id, State.DELIVERED), change(envelope.id, State.SENDING, device="d-2")]
        ),
    )
    assert calls == [3]
    assert list(answers) == [[Applied.MADE], [Applied.REPEAT, Applied.MADE]]


async def test_acks_of_what_was_never_stored_go_apart(world: World) -> None:
    assert is_plain(change(1, State.DELIVERED, stored=False))
    assert not is_plain(change(1, State.DELIVERED))
    assert not is_plain(change(1, State.SENDING, stored=False))


async def test_a_long_list_is_cut_and_put_together_again(world: World) -> None:
    devices = [f"d-{n}" for n in range(CHANGES_PER_CALL + 10)]
    envelope = world.envelope(*devices[:1_000])
    await world.commit(envelope)
    applied = await world.parts.ledger.apply(
        [change(envelope.id, State.DELIVERED, device=device) for device in devices]
    )
    assert applied == [Applied.MADE] * 1_000 + [Applied.FOREIGN] * 34


async def test_only_moves_that_were_made_are_told(world: World) -> None:
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    for _ in range(2):
        await world.parts.ledger.apply([change(envelope.id, State.DELIVERED)], traces={envelope.id: "trace"})
    events = await world.trail.of_message(APP, envelope.id)
    assert [(event.step, event.traceparent) for event in events] == [("delivered", "trace")]
    assert world.metrics.counted(Metric.DI_STATES) == 1


async def test_what_was_displaced_is_told_too(world: World) -> None:
    old, new = [await world.push("d-1", collapse="c") for _ in range(2)]
    assert await world.reason(old, "d-1") == "replaced"
    assert [event.reason for event in await world.trail.of_message(APP, old.id)] == ["offline", "replaced"]
    assert await world.state(new, "d-1") is State.WAITING


async def test_a_store_that_is_down_is_down_for_all_who_wait(world: World) -> None:
    async def down(changes, *, now):  # type: ignore[no-untyped-def]
        raise Unavailable("down")

    world.ports.messages.apply = down  # type: ignore[method-assign]
    answers = await asyncio.gather(
        *(world.parts.ledger.apply([change(1, State.DELIVERED)]) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Unavailable] * 3


async def test_beyond_the_bound_callers_are_told_to_come_back(world: World) -> None:
    ledger = world.parts.ledger
    ledger._rest._bound = 1
    first = asyncio.create_task(ledger.apply([change(1, State.WAITING)]))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await ledger.apply([change(2, State.WAITING)])
    assert await first == [Applied.FOREIGN]
