"""Live broadcasts within a node: who gets one, once; in slices; under a rate; and what is counted."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from push_core.clock import Clock
from push_core.limits.memory import MemoryLimits
from push_core.limits.shared import SharedBuckets
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.models import App
from push_core.rpc.port import Broadcast, Cast, Stage, Taking, Tally
from push_gateway.broadcasts import AT_A_TIME, LOOK_EVERY, RATE_KEY, Broadcasts
from push_gateway.counters import Counters
from push_gateway.prepared import Prepared
from push_gateway.registry import Registry
from push_gateway.settings import GatewaySettings
from push_gateway.topics import Topics
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import JSON
from tests.push_gateway.support import APP, SECRET, Client, Node, Site, new_id, push_json, token
from tests.support.hand_clock import HandClock
from tests.support.until import until

DONE, TAKEN, BUSY, LATE = Stage.DONE, Stage.TAKEN, Stage.BUSY, Stage.LATE


def cast(topic: str | None = "news", *, message_id: int | None = None, app: str = APP, **fields: Any) -> Cast:
    message_id = new_id() if message_id is None else message_id
    usual: dict[str, Any] = {"push": push_json(message_id), "expires": Clock().wall_ms() + 10_000}
    return Cast(id=message_id, app=app, topic=topic, **(usual | fields))


async def broadcast(node: Node, *casts: Cast, **fields: Any) -> list[Tally]:
    incarnation = fields.get("incarnation", node.gateway.incarnation)
    call = Broadcast(incarnation, fields.get("deadline", Clock().wall_ms() + 5_000), list(casts))
    return await node.ports.rpc.peers().broadcast(node.gateway.address, call)


async def done(node: Node, sent: Cast) -> Tally:
    while (tally := (await broadcast(node, sent))[0]).stage is TAKEN:
        await asyncio.sleep(0.001)
    return tally


async def listener(node: Node, device: str, *topics: str, codec: Codec = JSON, **hello: Any) -> Client:
    client = await node.client(codec)
    await client.sign_in(device, token=token(device, topics=["*"]), **hello)
    if topics:
        await client.send(f.Subscribe(topics))
        await client.pong()
    return client


# ── who gets it ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_push_for_a_topic_reaches_its_sessions_each_in_its_codec_and_nobody_else(
    node: Node, codec: Codec
) -> None:
    readers = [await listener(node, "d-1", "news"), await listener(node, "d-2", "news", codec=codec)]
    other = await listener(node, "d-3", "sports")
    sent = cast("news")
    assert await done(node, sent) == Tally(DONE, written=2)
    for reader in readers:
        push = await reader.push()
        assert (push.id, push.title, push.again) == (sent.id, "hello", False)
    await other.pong()


async def test_a_push_for_all_reaches_all_sessions_of_its_app(site: Site, node: Node) -> None:
    await site.ports.devices.put_apps([App(name="taxi", device_secrets=(SECRET,))])
    mine = [await node.device(f"d-{number}") for number in range(3)]
    theirs = await node.client()
    await theirs.sign_in("d-0", app="taxi")
    sent = cast(None, again=True)
    assert await done(node, sent) == Tally(DONE, written=3)
    for client in mine:
        assert ((push := await client.push()).id, push.again) == (sent.id, True)
    await theirs.pong()


async def test_a_cast_that_comes_again_is_not_written_again(node: Node) -> None:
    client = await listener(node, "d-1", "news")
    sent = cast()
    await done(node, sent)
    assert await broadcast(node, sent, sent) == [Tally(DONE, written=1)] * 2
    await client.push()
    await client.pong()


async def test_acks_of_a_cast_are_counted_and_reported_to_nobody(site: Site, node: Node) -> None:
    clients = [await listener(node, f"d-{number}", "news") for number in range(4)]
    sent = cast()
    await done(node, sent)
    for client, status in zip(clients, ("received", "dropped", "undecodable", None), strict=True):
        await client.push()
        if status is not None:
            await client.ack(sent.id, status=status)
            await client.ack(sent.id, status="displayed")
            await client.pong()
    assert await broadcast(node, sent) == [Tally(DONE, written=4, acked=1, refused=2)]
    for client in clients:
        await client.socket.close()
    await until(lambda: node.gateway.sessions == 0)
    assert len(node.gateway._receipts) == 0
    assert node.receipts.taken == []


async def test_a_window_that_is_used_up_is_passed_over(node: Node) -> None:
    client = await listener(node, "d-1", "news", window=1)
    first, second, third = cast(), cast(), cast()
    assert await done(node, first) == Tally(DONE, written=1)
    assert await done(node, second) == Tally(DONE, full=1)
    await client.ack((await client.push()).id)
    await client.pong()
    assert await done(node, third) == Tally(DONE, written=1)
    assert (await client.push()).id == third.id


async def test_what_is_past_its_time_is_not_taken(node: Node) -> None:
    now = Clock().wall_ms()
    await listener(node, "d-1", "news")
    assert await broadcast(node, cast(expires=now)) == [Tally(LATE)]
    assert await broadcast(node, cast(), deadline=now) == [Tally(LATE)]
    assert await broadcast(node, cast(), incarnation="another life") == [Tally(Stage.ELSEWHERE)]


async def test_a_push_that_is_none_ends_its_cast_and_no_other(node: Node) -> None:
    client = await listener(node, "d-1", "news", codec=JSON)
    broken, good = cast(push=b"no push"), cast()
    await broadcast(node, broken, good)
    assert await done(node, good) == Tally(DONE, written=1)
    assert (await done(node, broken)).stage is DONE
    assert (await client.push()).id == good.id


# ── in slices, by a clock that moves when a session is written to ───────────────────────────────────────────────────


class FakeSession:
    """Takes a millisecond to be written to. `then` is done at that moment."""

    def __init__(self, world: "World", device: str, app: str = APP) -> None:
        self.key = (app, device)
        self.world = world
        self.got: list[int] = []
        self.answer = Taking.ACCEPTED
        self.then: Any = None

    def offer_live(self, message_id: int, prepared: Prepared, until: float, now: float) -> Taking:
        world = self.world
        world.ticks += 0.001
        if self.answer is Taking.ACCEPTED:
            self.got.append(message_id)
            world.times.append(world.time.monotonic())
        if self.then is not None:
            self.then()
        return self.answer


class World:
    """Broadcasts over sessions that are none. `slices` are the seconds that each held the loop."""

    def __init__(
        self, sessions: int = 0, *, time: HandClock | None = None, limits: MemoryLimits | None = None, **settings: Any
    ) -> None:
        self.time = time or HandClock()
        self.ticks = 0.0
        self.times: list[float] = []
        self.control: dict[str, Any] = {}
        self.metrics = MemoryMetrics()
        counters = Counters(self.metrics)
        self.registry = Registry()
        self.topics = Topics(self.control.get, counters, most=10)
        buckets = SharedBuckets(
            MemoryLimits(monotonic=self.time.monotonic) if limits is None else limits, self.metrics,
            timeout_s=1, away_s=1, share=0.1, monotonic=self.time.monotonic,
        )  # fmt: skip
        self.counters = counters
        self.broadcasts = Broadcasts(
            self.registry, self.topics, buckets, counters, self.metrics,
            GatewaySettings(**settings), self.time.clock(), self.control.get, ticks=lambda: self.ticks,
            sleep=self.sleep,
        )  # fmt: skip
        self.sessions = [self.enter(f"d-{number}") for number in range(sessions)]

    async def sleep(self, seconds: float) -> None:
        end = self.time.monotonic() + seconds
        while self.time.monotonic() < end:
            await asyncio.sleep(0)

    def enter(self, device: str, *topics: str) -> FakeSession:
        session = FakeSession(self, device)
        self.registry.signed[session.key] = session  # type: ignore[assignment]
        self.topics.add(session, topics or ("news",))  # type: ignore[arg-type]
        return session

    def leave(self, session: FakeSession) -> None:
        del self.registry.signed[session.key]
        self.topics.forget(session)  # type: ignore[arg-type]
        session.answer = Taking.ABSENT

    def take(self, *casts: Cast) -> list[Tally]:
        return [self.broadcasts.take(each) for each in casts]

    def cast(self, topic: str | None = "news", **fields: Any) -> Cast:
        return cast(topic, **({"expires": self.time.wall_ms() + 10_000} | fields))

    async def turns(self, *casts: Cast) -> list[float]:
        """Run until these are done; how long each turn held the loop."""
        held = []
        while any(tally.stage is TAKEN for tally in self.take(*casts)):
            before = self.ticks
            await self.broadcasts.run()
            held.append(self.ticks - before)
        return held


@pytest.mark.parametrize("topic", ["news", None])
async def test_no_slice_holds_the_loop_longer_than_it_may(topic: str | None) -> None:
    world = World(2_000, broadcast_slice_s=0.005)
    sent = world.cast(topic)
    assert world.take(sent) == [Tally(TAKEN)]
    held = await world.turns(sent)
    assert max(held) <= 0.005 + LOOK_EVERY * 0.001 + 1e-9  # it looks at the clock every few sessions
    assert sum(held) == pytest.approx(2.0)
    assert world.take(sent) == [Tally(DONE, written=2_000)]
    assert all(session.got == [sent.id] for session in world.sessions)


async def test_the_more_the_loop_does_for_others_the_shorter_is_a_slice() -> None:
    world = World(4_000, broadcast_slice_s=0.05, broadcast_turn_s=0.1)
    sent = world.cast()
    world.take(sent)
    held = []
    for others in (0.0, 0.04, 0.08, 0.2, 0.0):
        before = world.ticks
        await world.broadcasts.run()
        held.append(round(world.ticks - before, 3))
        world.ticks += others
    in_steps = LOOK_EVERY * 0.001
    for slice_s, allowed in zip(held, (0.05, 0.05, 0.05, 0.02, 0.005), strict=True):
        assert allowed <= slice_s < allowed + in_steps + 1e-9


async def test_the_loop_has_a_turn_after_each_slice() -> None:
    world = World(200, broadcast_slice_s=0.001)
    sent = world.cast()
    world.take(sent)
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    held = await world.turns(sent)
    task.cancel()
    assert len(held) >= 200 // LOOK_EVERY
    assert others >= len(held)


async def test_a_small_cast_does_not_wait_for_a_large_one() -> None:
    world = World(2_000, broadcast_slice_s=0.005)
    late = world.enter("late", "sports")
    large, small = world.cast("news"), world.cast("sports")
    world.take(large, small)
    for _ in range(2):
        await world.broadcasts.run()
    assert late.got == [small.id]
    assert world.take(large)[0].stage is TAKEN


async def test_who_leaves_or_unsubscribes_in_the_middle_is_passed_over_and_who_comes_has_missed_it() -> None:
    world = World(100, broadcast_slice_s=0.0001)
    sent = world.cast()
    order: list[Any] = list(world.topics.find(APP, "news").sessions())  # type: ignore[union-attr]
    first, gone, unsubscribed = order[0], order[-1], order[-2]
    comers: list[FakeSession] = []

    def meanwhile() -> None:
        world.leave(gone)
        world.topics.remove(unsubscribed, ["news"])
        comers.append(world.enter("new"))

    first.then = meanwhile
    world.take(sent)
    await world.turns(sent)
    assert world.take(sent) == [Tally(DONE, written=98)]
    assert (gone.got, unsubscribed.got, comers[0].got) == ([], [], [])
    again = world.cast()
    world.take(again)
    first.then = None
    await world.turns(again)
    assert comers[0].got == [again.id]


async def test_a_session_that_fails_ends_its_cast_and_the_next_one_is_written() -> None:
    world = World(1)

    def fail() -> None:
        raise RuntimeError("a fault of ours")

    world.sessions[0].then = fail
    broken = world.cast()
    world.take(broken)
    await world.turns(broken)
    world.sessions[0].then = None
    good = world.cast()
    world.take(good)
    await world.turns(good)
    assert world.take(good) == [Tally(DONE, written=1)]


async def test_a_cast_whose_time_is_over_in_the_middle_is_written_to_nobody_more() -> None:
    world = World(100, broadcast_slice_s=0.0001)
    sent = world.cast()
    world.take(sent)
    await world.broadcasts.run()
    world.time.advance(10)
    await world.turns(sent)
    assert world.take(sent) == [Tally(DONE, written=LOOK_EVERY)]
    world.counters.flush()
    assert world.metrics.counted(Metric.GW_BROADCAST_SESSIONS, outcome="late") == 100 - LOOK_EVERY


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_more_casts_than_may_wait_are_not_taken_and_are_when_there_is_room() -> None:
    world = World(1, broadcasts_waiting=2)
    casts = [world.cast() for _ in range(3)]
    assert world.take(*casts) == [Tally(TAKEN), Tally(TAKEN), Tally(BUSY)]
    await world.broadcasts.run()
    assert world.take(casts[2]) == [Tally(TAKEN)]
    await world.turns(*casts)
    assert world.sessions[0].got == [each.id for each in casts]


async def test_a_cast_is_remembered_until_its_time_is_over_and_the_memory_is_bounded() -> None:
    world = World(1, broadcasts_kept=2)
    old, young, third = world.cast(expires=world.time.wall_ms() + 5_000), world.cast(), world.cast()
    world.take(old, young)
    await world.turns(old, young)
    assert world.take(third) == [Tally(BUSY)]
    world.time.advance(5)
    assert world.take(third) == [Tally(TAKEN)]
    assert world.take(old) == [Tally(LATE)]
    assert world.take(young) == [Tally(DONE, written=1)]


async def test_only_so_many_lists_of_sessions_are_kept_at_a_time() -> None:
    world = World(50, broadcast_slice_s=0.0001)
    casts = [world.cast() for _ in range(AT_A_TIME + 5)]
    world.take(*casts)
    await world.broadcasts.run()
    assert len(world.broadcasts._turns) == AT_A_TIME
    assert len(world.broadcasts._waiting) == 5
    await world.turns(*casts)


# ── the rate of all nodes ───────────────────────────────────────────────────────────────────────────────────────────


async def run_together(worlds: Sequence[World], casts: Sequence[Cast], time: HandClock) -> None:
    """Nodes that share a bucket, and time, which passes when all of them wait."""
    tasks = [asyncio.create_task(world.turns(each)) for world, each in zip(worlds, casts, strict=True)]
    while not all(task.done() for task in tasks):
        for _ in range(20):
            await asyncio.sleep(0)
        time.advance(0.001)
    for task in tasks:
        task.result()


async def test_two_nodes_together_keep_to_the_rate_and_the_one_with_more_sessions_gets_more() -> None:
    time = HandClock()
    limits = MemoryLimits(monotonic=time.monotonic)
    worlds = [World(300, time=time, limits=limits), World(100, time=time, limits=limits)]
    casts = []
    for world in worlds:
        world.control[RATE_KEY] = 200
        casts.append(world.cast())
        world.take(casts[-1])
    await run_together(worlds, casts, time)
    written = sorted(at for world in worlds for at in world.times)
    assert len(written) == 400
    for place, at in enumerate(written):  # no second has more than the rate, and what a bucket holds
        in_this_second = sum(1 for other in written[place:] if other < at + 1)
        assert in_this_second <= 200 + 3 * 200 * 0.05
    assert written[-1] - written[0] == pytest.approx(2.0, rel=0.1)


async def test_the_rate_is_the_settings_until_control_says_another_one() -> None:
    world = World(0, broadcast_rate=10.0)
    assert world.broadcasts._rate == 10
    for said, rate in ((0, 0.0), (2.5, 2.5), (-1, 10.0), ("fast", 10.0), (True, 10.0)):
        world.control[RATE_KEY] = said
        assert world.broadcasts._rate == rate
