"""Once on the screen, always acked: the golden sequences over real sockets, and any other sequence without them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_proto.python import Client, DropPush, Options, Problem, Push
from sdk_proto.python.delivery import Delivery
from sdk_proto.python.remember import Remember
from sdk_proto.python.seen import Seen
from sdk_proto.python.store import MemoryStore
from sdk_proto.wire import frames as f
from tests.sdk_proto.python.fake_gateway import FakeGateway, FakeSession, fake_gateway
from tests.sdk_proto.vectors import load, names


class Runner:
    """Plays the steps of a vector against a client with a file for its ids."""

    def __init__(self, gateway: FakeGateway, path: Path) -> None:
        self.gateway = gateway
        self.path = path
        self.shown: list[int] = []
        self.behaviour = "returns"
        self.client: Client
        self.session: FakeSession

    async def on_push(self, push: Push) -> None:
        self.shown.append(push.id)
        if self.behaviour == "fails":
            raise OSError("no disk")
        if self.behaviour == "drops":
            raise DropPush

    async def start(self) -> None:
        self.problems: asyncio.Queue[Problem] = asyncio.Queue()
        options = Options(
            url=self.gateway.url, app="a", device="d", token="t", store=self.path, subprotocol="taco.v1+json"
        )
        self.online: asyncio.Queue[str] = asyncio.Queue()
        self.client = Client(
            options,
            self.on_push,
            on_problem=self.problems.put_nowait,
            on_status=lambda status: self.online.put_nowait(status.state) if status.state == "online" else None,
            source=lambda: 0.5,
        )
        await self.client.start()
        await self.connected()

    async def connected(self) -> None:
        self.session = await self.gateway.session()
        await self.online.get()

    async def play(self, step: dict[str, Any]) -> None:
        self.shown.clear()
        await getattr(self, f"_{step['do']}")(step)

    async def check(self, step: dict[str, Any]) -> None:
        expected = [(int(message_id), status) for message_id, status in step["acks"]]
        assert await self.session.next_acks(len(expected)) == expected
        self.client.wake()  # whatever else waits is sent before this ping
        await self.session.frames.get()
        assert self.session.acks.empty()
        assert self.shown == ([int(step["id"])] if step["shown"] else [])

    async def _push(self, step: dict[str, Any]) -> None:
        self.behaviour = step.get("handler", "returns")
        await self.session.push(int(step["id"]), expires=step.get("expires", 0))
        if self.behaviour == "fails":
            await self.problems.get()
        await self.check(step)

    async def _undecodable(self, step: dict[str, Any]) -> None:
        await self.session.connection.send(f'{{"push":{{"id":"{step["id"]}","title":3}}}}')
        await self.check(step)

    async def _recall(self, step: dict[str, Any]) -> None:
        await self.session.send(f.Recall(int(step["id"])))
        await self.check(step)

    async def _many(self, step: dict[str, Any]) -> None:
        self.behaviour = "returns"
        ids = range(int(step["first"]), int(step["first"]) + step["count"])
        for at in range(0, len(ids), 500):
            some = ids[at : at + 500]
            await self.session.send(*[f.Push(id=message_id) for message_id in some])
            assert await self.session.next_acks(len(some)) == [(message_id, "received") for message_id in some]
        assert self.shown == list(ids)

    async def _reconnect(self, step: dict[str, Any]) -> None:
        await self.session.cut()
        await self.connected()
        await self.check(step)

    async def _restart(self, step: dict[str, Any]) -> None:
        await self.client.stop()
        await self.start()
        await self.check(step)


@pytest.mark.parametrize("vector", load("dedup"), ids=names)
async def test_the_golden_sequences(vector: Any, tmp_path: Path) -> None:
    async with fake_gateway() as gateway:
        runner = Runner(gateway, tmp_path / "state.sqlite")
        await runner.start()
        try:
            for step in vector["steps"]:
                await runner.play(step)
        finally:
            await runner.client.stop()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 4), st.sampled_from(["returns", "fails", "drops", "slow"])),
        st.tuples(st.just("recall"), st.integers(1, 4), st.just("")),
        st.tuples(st.just("turn"), st.integers(1, 3), st.just("")),
        st.tuples(st.just("restart"), st.just(0), st.just("")),
    ),
    max_size=30,
)


@given(steps)
def test_in_any_order_of_events_a_push_succeeds_once_and_is_never_acked_before(
    events: list[tuple[str, int, str]],
) -> None:
    asyncio.run(_any_order(events))


async def _any_order(events: list[tuple[str, int, str]]) -> None:
    store = MemoryStore()
    succeeded: list[int] = []
    acked: set[int] = set()
    recalled: set[int] = set()
    behaviour: dict[int, str] = {}
    slow = asyncio.Event()

    async def handler(push: Push) -> None:
        mine = behaviour[push.id]
        if mine == "slow":
            await slow.wait()
        if mine == "fails":
            raise OSError
        succeeded.append(push.id)
        if mine == "drops":
            raise DropPush

    def settle(message_id: int, status: str) -> None:
        assert message_id in recalled or message_id in succeeded or status == "dropped"
        acked.add(message_id)

    async def start() -> tuple[Delivery, Seen]:
        seen = Seen()
        remember = Remember(store, "a", "d", seen, lambda error: None)
        await remember.load()
        delivery = Delivery(
            handler,
            seen=seen,
            remember=remember,
            settle=settle,
            report=lambda error, message_id: None,
            concurrency=1,
            timeout_s=30,
            tries=3,
        )
        return delivery, seen

    delivery, seen = await start()
    for kind, number, how in events:
        if kind == "push":
            behaviour[number] = how
            if number not in seen:
                delivery.push(f.Push(id=number), 0)
        elif kind == "recall":
            recalled.add(number)
            delivery.recall(number, 0)
        elif kind == "turn":
            for _ in range(number):
                await asyncio.sleep(0)
        else:
            slow.set()
            await delivery.drain(10)
            slow.clear()
            delivery, seen = await start()
    slow.set()
    await delivery.drain(10)
    assert len(succeeded) == len(set(succeeded))
    assert set(succeeded) <= acked
