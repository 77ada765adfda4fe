"""Everything at once, at random: phones come and go, gateways die, answers and batches get lost, stores fail, the dispatcher and the broker crash. Then
time passes in peace, and every delivery must have ended, wait in an inbox, or be with a vendor. Nothing may be lost and nothing invented."""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.settings import DispatcherSettings
from push_core.envelope import Envelope, Work
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.lifecycle import END_RANK, RANK, State
from push_core.models import PRIORITIES, Channels
from push_core.queues.memory import MemoryQueues
from tests.dispatcher.sim_gateway import Gateway, Phone
from tests.dispatcher.world import APP, World

PHONES = 8
TOKENS = ("ok", "fail:x", "reject:x", "dead:x", "quota:x", "ok2")


class Flaky:
    """A port that fails now and then: before it did anything, or after it did everything."""

    def __init__(self, port: Any, random: Random) -> None:
        self._port = port
        self._random = random
        self.rate = 0.0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(real) or name in ("close", "consume", "lease_node"):
            return real

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            if self._random.random() < self.rate:
                raise Unavailable("down")
            result = await real(*args, **kwargs)
            if self._random.random() < self.rate:
                raise DeadlineExceeded("nobody knows")
            return result

        return call


@dataclass
class Simulation:
    random: Random
    world: World
    phones: list[Phone] = field(default_factory=list)
    gateways: list[Gateway] = field(default_factory=list)
    accepted: dict[int, Envelope] = field(default_factory=dict)
    recalled: set[int] = field(default_factory=set)
    lives: int = 0

    @classmethod
    async def open(cls, seed: int) -> "Simulation":
        random = Random(seed)
        world = await World.open(DispatcherSettings(route_cache_s=seed % 2))  # routes remembered in every other course
        world.make_flaky(lambda port: Flaky(port, random))
        simulation = cls(random, world)
        for n in range(PHONES):
            phone = Phone(f"d-{n}", acks=random.choice((0.0, 0.5, 0.9, 1.0)))
            simulation.phones.append(phone)
            tokens = {"stub": random.choice(TOKENS)} if random.random() < 0.5 else {}
            await world.register(phone.name, alias=f"u-{n % 3}", vendor_tokens=tokens)
        for _ in range(2):
            await simulation.new_gateway()
        for phone in simulation.phones:
            await simulation.random.choice(simulation.gateways).connect(phone)
        return simulation

    async def new_gateway(self) -> None:
        self.lives += 1
        gateway = Gateway(self.world, self.random, f"gw#{self.lives}")
        gateway.lose_answers = 0.05
        self.gateways.append(await gateway.start())

    def faults(self, rate: float) -> None:
        for name in ("messages", "presence", "devices", "claims"):
            getattr(self.world.ports, name).rate = rate
        for gateway in self.gateways:
            gateway.lose_answers = rate

    # ── what may happen ───────────────────────────────────────────────────────────────────────────────────────────────

    async def step(self) -> None:
        actions = (
            (10, self.push),
            (12, self.handle),
            (2, self.handle_and_crash),
            (10, self.connect),
            (2, self.disconnect),
            (1, self.kill_gateway),
            (4, self.pass_time),
            (6, self.tick),
            (5, self.housekeeping),
            (4, self.vendors),
            (1, self.recall),
            (1, self.lose_broker),
        )
        weights, what = zip(*actions, strict=True)
        await self.random.choices(what, weights)[0]()

    async def push(self) -> None:
        chance = self.random.random
        envelopes = []
        for _ in range(self.random.randint(1, 6)):
            ack_ms = self.random.choice((2_000, 10_000))
            channels = self.random.choice((Channels.AUTO, Channels.AUTO, Channels.LONG, Channels.VENDOR))
            live_only = chance() < 0.15 and channels is not Channels.VENDOR
            ttl_ms = ack_ms if live_only else self.random.choice((5_000, 120_000, 3_600_000))
            by_alias = chance() < 0.2
            names = self.random.sample([phone.name for phone in self.phones], self.random.randint(1, 3))
            envelopes.append(
                self.world.envelope(
                    *([] if by_alias else names),
                    alias=f"u-{self.random.randint(0, 4)}" if by_alias else None,
                    channels=channels,
                    live_only=live_only,
                    expires=self.world.now + ttl_ms,
                    ack_timeout_ms=ack_ms,
                    priority=self.random.choice(PRIORITIES),
                    collapse="c" if chance() < 0.1 else None,
                )
            )
        await self.world.commit(*envelopes)
        self.accepted.update({envelope.id: envelope for envelope in envelopes})
        if chance() < 0.85:  # else the API died between commit and publish
            await self.world.publish(*envelopes)
            if chance() < 0.1:
                await self.world.publish(*envelopes)

    async def guarded(self, work: Any) -> None:
        with contextlib.suppress(Unavailable):  # as the program's loops do: again later
            await work

    async def handle(self) -> None:
        await self.guarded(self.world.handle())

    async def handle_and_crash(self) -> None:
        handling = asyncio.create_task(self.world.handle())
        for _ in range(self.random.randint(0, 60)):
            await asyncio.sleep(0)
        handling.cancel()
        await asyncio.gather(handling, return_exceptions=True)
        self.world.restart()

    async def connect(self) -> None:
        phone = self.random.choice(self.phones)
        for gateway in self.gateways:  # a half-open session stays behind now and then
            if phone.name in gateway.sessions and self.random.random() < 0.7:
                await gateway.disconnect(phone.name, tell_presence=True)
        await self.random.choice(self.gateways).connect(phone)

    async def disconnect(self) -> None:
        gateway = self.random.choice(self.gateways)
        if gateway.sessions:
            name = self.random.choice(sorted(gateway.sessions))
            await gateway.disconnect(name, tell_presence=self.random.random() < 0.7)

    async def kill_gateway(self) -> None:
        gateway = self.gateways.pop(self.random.randrange(len(self.gateways)))
        await gateway.die()
        await self.new_gateway()

    async def pass_time(self) -> None:
        self.world.time.advance(self.random.choice((0.2, 1.0, 5.0, 20.0)))

    async def tick(self) -> None:
        for gateway in self.gateways:
            await gateway.tick()

    async def housekeeping(self) -> None:
        parts = self.world.parts
        for loop in (parts.relay.run_once, parts.later.run_once, parts.node_watch.run_once, parts.sweep.expire):
            await self.guarded(loop())

    async def vendors(self) -> None:
        await self.guarded(self.world.handle_vendors())

    async def recall(self) -> None:
        if not self.accepted:
            return
        envelope = self.accepted[self.random.choice(list(self.accepted))]
        (recalled,) = await self.world.true_messages.recall([(APP, envelope.id)], now=self.world.now)
        assert recalled is not None
        self.recalled.add(envelope.id)
        if recalled.notify and self.random.random() < 0.8:
            known = {name: getattr(envelope, name) for name in envelope.__struct_fields__}
            told = Envelope(**{**known, "devices": recalled.notify, "work": Work.RECALL, "alias": None})
            await self.world.publish(told)

    async def lose_broker(self) -> None:
        self.world.replace_queues(MemoryQueues(monotonic=self.world.time.monotonic))

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def settle(self, seconds: float, step_s: float) -> None:
        """Peace: nothing fails, connected phones ack, every loop turns."""
        self.faults(0.0)
        for _ in range(int(seconds / step_s)):
            self.world.time.advance(step_s)
            parts = self.world.parts
            await parts.relay.run_once()
            while await parts.later.run_once() >= self.world.settings.later_batch:
                pass
            await parts.node_watch.run_once()
            await self.world.handle()
            await self.world.handle_vendors()
            await parts.sweep.expire()
            for gateway in self.gateways:
                await gateway.tick(all_ack=True)

    async def connected(self) -> set[str]:
        """Phones whose route leads to a session: a gateway that could not say that a phone went away leaves a route behind."""
        names = set()
        for gateway in self.gateways:
            for name, session in gateway.sessions.items():
                (found,) = await self.world.true_presence.locate([(APP, name)])
                if found is not None and found.route == session.route:
                    names.add(name)
        return names

    async def deliveries(self) -> list[tuple[int, str, State, str]]:
        found: list[tuple[int, str, State, str]] = []
        ids = list(self.accepted)
        for view in await self.world.true_messages.get([(APP, one) for one in ids], limit=1_000):
            assert view is not None
            assert sum(view.counts.values()) == len(view.deliveries)
            if not view.deliveries:
                assert view.state in (State.UNDELIVERABLE, State.RECALLED), (
                    "an alias without a device, or taken back before"
                )
            found += [(view.id, one.device, one.state, one.reason) for one in view.deliveries]
        return found


async def run(seed: int, steps: int) -> None:
    simulation = await Simulation.open(seed)
    world = simulation.world
    simulation.faults(0.04)
    for _ in range(steps):
        await simulation.step()
    await simulation.settle(900.0, 15.0)

    connected = await simulation.connected()
    screens = {phone.name: phone.screen for phone in simulation.phones}
    for message_id, device, state, reason in await simulation.deliveries():
        envelope = simulation.accepted[message_id]
        what = (
            f"seed {seed}: {message_id} for {device} is {state} ({reason}), {envelope.channels}, alias {envelope.alias}"
        )
        assert state not in (State.ACCEPTED, State.SENDING), what
        standing = await world.true_standing(envelope, device)
        if state is State.WAITING and envelope.channels is not Channels.VENDOR:
            assert standing.in_inbox, what
            assert device not in connected, what
        if 0 < RANK[state] < END_RANK:
            assert message_id in screens[device], what
        if state is State.VENDOR:
            assert standing.vendor, what

    await simulation.settle(3_700.0, 60.0)
    ledger = await simulation.deliveries()
    states = Counter(state for _, _, state, _ in ledger)
    assert not [state for state in states if RANK[state] == 0], f"seed {seed}: {states}"
    named = {(envelope.id, device) for envelope in simulation.accepted.values() for device in envelope.devices}
    assert named <= {(message_id, device) for message_id, device, _, _ in ledger}
    assert await world.true_messages.take_later(now=world.now + 10**9, hold_ms=1) == [], "no row outlives its delivery"
    await world.close()


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_every_delivery_ends_or_waits_where_it_is_found(seed: int) -> None:
    await run(seed, steps=120)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_and_for_any_other_course_of_events(seed: int) -> None:
    asyncio.run(run(seed, steps=60))
