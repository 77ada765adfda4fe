"""Calls to a vendor: claimed first, looked up, made once, written down."""

import asyncio
from collections.abc import Sequence

import pytest

from dispatcher.fallback import channels
from dispatcher.fallback.jobs import VendorJob
from dispatcher.fallback.port import Result, VendorOutcome
from dispatcher.settings import DispatcherSettings
from push_core.claims.port import Claim
from push_core.envelope import vendor_queue_name
from push_core.errors import Unavailable
from push_core.lifecycle import State
from push_core.metrics.catalogue import Metric
from push_core.models import Channels
from push_core.queues.port import Source
from push_core.rpc.port import ReceiptKind
from tests.dispatcher.world import APP, World


class Scripted:
    """A channel that answers by script, then accepts."""

    def __init__(self, name: str, *script: VendorOutcome | Exception | None) -> None:
        self._name = name
        self.script = list(script)
        self.sent: list[VendorJob] = []
        self.gate: asyncio.Event | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def max_batch(self) -> int:
        return 2

    async def send(self, jobs: Sequence[VendorJob]) -> list[VendorOutcome]:
        if self.gate is not None:
            await self.gate.wait()
        outcomes = []
        for job in jobs:
            said = self.script.pop(0) if self.script else None
            if isinstance(said, Exception):
                raise said
            self.sent.append(job)
            outcomes.append(said or VendorOutcome(Result.DELIVERED_TO_VENDOR))
        return outcomes

    async def close(self) -> None:
        pass


async def opened(*vendors: Scripted, **settings: object) -> World:
    names = tuple(vendor.name for vendor in vendors)
    world = await World.open(DispatcherSettings(vendor_channels=names, **settings), vendors)  # type: ignore[arg-type]
    await world.register("d-1", vendor_tokens={name: f"token-{name}" for name in names})
    return world


@pytest.fixture(autouse=True)
def _known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**channels.CHANNELS, "one": channels.CHANNELS["stub"], "two": channels.CHANNELS["stub"]}
    monkeypatch.setattr(channels, "CHANNELS", known)


async def test_a_yes_is_written_down_and_asked_for_once() -> None:
    one = Scripted("one")
    world = await opened(one)
    envelope = await world.push("d-1")
    await world.handle_vendors()
    assert (await world.state(envelope, "d-1"), len(one.sent)) == (State.VENDOR, 1)
    assert await world.later(1_000.0) == 0, "the net is taken away"
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED)
    assert await world.state(envelope, "d-1") is State.DELIVERED
    await world.close()


async def test_a_job_that_comes_twice_calls_once() -> None:
    one = Scripted("one")
    world = await opened(one)
    await world.push("d-1")
    queue = vendor_queue_name("one")
    consumer = await world.queues.consume([Source(queue)])
    body = (await consumer.take()).body
    await consumer.close()
    (worker,) = world.parts.workers
    jobs = worker.decode(body)
    await worker.handle(jobs, redelivered=False)
    await worker.handle(jobs, redelivered=True)
    assert len(one.sent) == 1
    await world.close()


async def test_while_another_worker_holds_the_claim_nobody_calls() -> None:
    one = Scripted("one")
    world = await opened(one)
    envelope = await world.push("d-1")
    key = f"{envelope.id}:{APP}:d-1:one"
    assert await world.ports.claims.take([key], "another", 30.0) == [Claim.GRANTED]
    await world.handle_vendors()
    assert one.sent == []
    await world.later(60.0)  # the other died: its claim ran out, the net brings the job again
    assert len(one.sent) == 1
    await world.close()


async def test_a_claim_that_is_done_writes_the_row_that_a_crash_left_out() -> None:
    """The vendor said yes and the worker died before it wrote that down."""
    one = Scripted("one")
    world = await opened(one)
    envelope = await world.push("d-1")
    await world.ports.claims.done([f"{envelope.id}:{APP}:d-1:one"], "dead worker", 1_000.0)
    await world.handle_vendors()
    assert one.sent == []
    assert (await world.standing(envelope, "d-1")).vendor == "one"
    await world.close()


async def test_a_yes_that_could_not_be_written_down_is_not_asked_for_again() -> None:
    one = Scripted("one")
    world = await opened(one)
    envelope = await world.push("d-1")
    consumer = await world.queues.consume([Source(vendor_queue_name("one"))])
    (worker,) = world.parts.workers
    jobs = worker.decode((await consumer.take()).body)
    await consumer.close()

    async def down(*_: object, **__: object) -> None:
        raise Unavailable("the store is down")

    apply, world.ports.messages.apply = world.ports.messages.apply, down  # type: ignore[method-assign, assignment]
    with pytest.raises(Unavailable):
        await worker.handle(jobs, redelivered=False)
    world.ports.messages.apply = apply  # type: ignore[method-assign]
    await worker.handle(jobs, redelivered=True)
    assert (len(one.sent), (await world.standing(envelope, "d-1")).vendor) == (1, "one")
    await world.close()


async def test_later_means_later_and_the_claim_is_given_back() -> None:
    one = Scripted("one", VendorOutcome(Result.RETRY_AFTER, delay_s=7.0))
    world = await opened(one)
    envelope = await world.push("d-1")
    await world.handle_vendors()
    assert await world.state(envelope, "d-1") is State.WAITING
    assert await world.later(6.0) == 0
    await world.later(1.0)
    assert len(one.sent) == 2
    assert await world.state(envelope, "d-1") is State.VENDOR
    await world.close()


async def test_tries_are_counted_and_end() -> None:
    one = Scripted("one", *[VendorOutcome(Result.RETRY_AFTER, delay_s=1.0)] * 10)
    world = await opened(one, vendor_tries=3)
    auto, only = await world.push("d-1"), await world.push("d-1", channels=Channels.VENDOR)
    await world.handle_vendors()
    for _ in range(10):
        await world.later(5.0)
    assert len([job for job in one.sent if job.envelope.id == auto.id]) == 3
    assert await world.state(auto, "d-1") is State.WAITING
    assert await world.reason(only, "d-1") == "rejected"
    assert len(await world.inbox("d-1")) == 1
    await world.close()


@pytest.mark.parametrize("result", [Result.REJECTED, Result.TOKEN_INVALID, Result.SKIPPED])
async def test_a_refusal_goes_on_to_the_next_channel(result: Result) -> None:
    one, two = Scripted("one", VendorOutcome(result)), Scripted("two")
    world = await opened(one, two)
    envelope = await world.push("d-1")
    await world.handle_vendors()
    assert (len(one.sent), len(two.sent)) == (1, 1)
    assert (await world.standing(envelope, "d-1")).vendor == "two"
    await world.close()


async def test_a_dead_token_is_dropped_if_it_still_is_the_devices() -> None:
    one = Scripted("one", VendorOutcome(Result.TOKEN_INVALID))
    world = await opened(one)
    envelope = await world.push("d-1", channels=Channels.VENDOR)
    await world.handle_vendors()
    (device,) = await world.ports.devices.get([(APP, "d-1")])
    assert device is not None
    assert device.vendor_tokens == {}
    assert await world.reason(envelope, "d-1") == "no_channel"
    await world.close()


async def test_a_token_registered_after_it_died_is_kept() -> None:
    one = Scripted("one", VendorOutcome(Result.TOKEN_INVALID, invalid_since=5))
    world = await opened(one)
    await world.register("d-1", vendor_tokens={"one": "new"}, updated=6)
    await world.push("d-1")
    await world.handle_vendors()
    (device,) = await world.ports.devices.get([(APP, "d-1")])
    assert device is not None
    assert device.vendor_tokens == {"one": "new"}
    await world.close()


async def test_a_vendor_that_calls_all_tokens_dead_wipes_none() -> None:
    devices = [f"d-{n}" for n in range(60)]
    one = Scripted("one", *[VendorOutcome(Result.TOKEN_INVALID)] * 60)
    world = await opened(one)
    for device in devices:
        await world.register(device, vendor_tokens={"one": "t"})
    await world.push(*devices)
    await world.handle_vendors()
    kept = [device for device in await world.ports.devices.get([(APP, name) for name in devices]) if device]
    assert sum(bool(device.vendor_tokens) for device in kept) >= 40
    await world.close()


async def test_a_rejected_push_waits_in_its_inbox() -> None:
    one = Scripted("one", VendorOutcome(Result.REJECTED))
    world = await opened(one)
    envelope = await world.push("d-1")
    await world.handle_vendors()
    assert await world.state(envelope, "d-1") is State.WAITING
    assert len(await world.inbox("d-1")) == 1
    assert await world.later(1_000.0) == 0
    await world.close()


async def test_an_adapter_that_raises_or_answers_short_loses_nothing() -> None:
    one = Scripted("one", ValueError("a fault of the adapter"))
    world = await opened(one)
    envelope = await world.push("d-1")
    await world.handle_vendors()
    assert await world.state(envelope, "d-1") is State.WAITING
    await world.later(5.0)
    assert await world.state(envelope, "d-1") is State.VENDOR
    await world.close()


async def test_an_apps_vendor_that_fails_again_and_again_is_left_alone_for_a_while() -> None:
    one = Scripted("one", *[VendorOutcome(Result.RETRY_AFTER, delay_s=1.0)] * 4)
    world = await opened(one, breaker_failures=4, breaker_open_s=10.0)
    envelopes = [await world.push("d-1") for _ in range(8)]
    await world.handle_vendors()
    assert len(one.sent) == 4
    for _ in range(5):
        await world.later(10.0)
    assert [await world.state(envelope, "d-1") for envelope in envelopes] == [State.VENDOR] * 8
    await world.close()


async def test_what_ended_meanwhile_is_not_sent() -> None:
    one = Scripted("one")
    world = await opened(one)
    acked, expired, recalled = [await world.push("d-1", expires=world.now + 5_000) for _ in range(3)]
    await world.report(acked, "d-1", ReceiptKind.RECEIVED)
    await world.messages.recall([(APP, recalled.id)], now=world.now)
    world.time.advance(5.0)
    await world.handle_vendors()
    assert one.sent == []
    assert await world.state(expired, "d-1") is State.WAITING
    await world.parts.sweep.expire()
    assert await world.state(expired, "d-1") is State.EXPIRED
    await world.close()


async def test_the_net_catches_a_job_that_got_lost() -> None:
    one = Scripted("one")
    world = await opened(one)
    envelope = await world.push("d-1")
    queue = vendor_queue_name("one")
    consumer = await world.queues.consume([Source(queue)])
    await consumer.ack([(await consumer.take()).tag])
    await consumer.close()
    await world.later(60.0)
    assert await world.state(envelope, "d-1") is State.VENDOR
    await world.close()


async def test_a_vendors_backlog_is_not_fed_by_the_net() -> None:
    one = Scripted("one")
    world = await opened(one)
    await world.push("d-1")
    for _ in range(10):
        world.time.advance(61.0)
        await world.parts.later.run_once()
    assert await world.queues.depth(vendor_queue_name("one")) == 1
    await world.handle_vendors()
    assert len(one.sent) == 1
    await world.close()


async def test_calls_are_counted_by_outcome_and_told_to_the_trail() -> None:
    one = Scripted("one", VendorOutcome(Result.RETRY_AFTER, "503", delay_s=1.0))
    world = await opened(one)
    envelope = await world.push("d-1")
    await world.handle_vendors()
    await world.later(1.0)
    assert world.metrics.counted(Metric.DI_VENDOR_CALLS, channel="one", outcome="retry_after") == 1
    events = [(event.step, event.reason) for event in await world.trail.of_message(APP, envelope.id)]
    assert events == [
        ("waiting", "offline"),
        ("vendor_call", "retry_after: 503"),
        ("fallback", ""),
        ("vendor_call", "delivered_to_vendor"),
        ("vendor", ""),
    ]
    assert {event.traceparent for event in await world.trail.of_message(APP, envelope.id)} == {envelope.traceparent}
    await world.close()
